"""Examines a data set: faults of its rows and audio, durations, a review by ear."""
