"""Holds one verb of the command line per file; files whose names begin with an underscore are shared by verbs."""
