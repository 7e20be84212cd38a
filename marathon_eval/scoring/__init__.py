"""Turns responses into scores: filters extract answers, metrics compare them with the targets."""
