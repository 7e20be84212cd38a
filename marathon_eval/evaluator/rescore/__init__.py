"""Scores responses without a model: predictions files, the benchmarks' official formats, and archives of runs."""
