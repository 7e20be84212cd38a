"""Scores without a model: predictions made elsewhere, official output, archives."""
