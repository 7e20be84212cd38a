"""The command line: parsing, the terminal, and one file per verb in verbs/."""
