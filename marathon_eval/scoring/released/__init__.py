"""Reproduces the benchmarks' released scoring rules, with their oddities, for `paper` readings and a few others."""
