"""Reproduces the benchmarks' released scoring rules, with their oddities. Only `paper` readings use them."""
