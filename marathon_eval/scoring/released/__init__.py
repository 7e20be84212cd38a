"""The benchmarks' own released scoring rules, quirks and all. Only `paper` readings use them."""
