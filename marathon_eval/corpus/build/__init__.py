"""Builds long audio from source corpora by a recipe: one step per file, and a manifest of every second."""
