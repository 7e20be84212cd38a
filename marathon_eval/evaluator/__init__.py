"""Runs evaluations: sends the requests of tasks to a model, scores the responses, and builds the results."""
