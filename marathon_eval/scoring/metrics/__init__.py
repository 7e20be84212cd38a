"""Metrics: from answers and targets to one figure per task."""
