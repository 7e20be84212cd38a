"""Provides what tests share: data sets, checkpoints, servers and models that are made during the test."""
