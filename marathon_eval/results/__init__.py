"""Writes and reads the files of a run, and compares two runs."""
