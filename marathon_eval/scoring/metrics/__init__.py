"""Computes one figure per task from answers and targets."""
