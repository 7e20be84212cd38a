"""Extracts the answer from the text of a response, with the filters that a task names."""
