"""Builds long audio from source corpora by a recipe: one module per step, and a manifest of every second."""
