"""Implements the command line: argument parsing, terminal output, and one file per verb in verbs/."""
