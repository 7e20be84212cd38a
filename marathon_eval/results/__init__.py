"""The files of a finished run, and two runs compared."""
