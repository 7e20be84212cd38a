"""Examines a data set: finds faults in its rows and audio, measures durations, and prepares a review by ear."""
