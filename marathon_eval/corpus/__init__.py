"""Builds long recordings from short ones, and examines data sets."""
