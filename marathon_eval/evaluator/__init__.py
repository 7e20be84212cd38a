"""Asks a model the requests of tasks, and scores the responses: run, sweep, judge, controls."""
