"""One verb of the command line per file; files that begin with an underscore are shared by several."""
