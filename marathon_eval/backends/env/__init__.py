"""Models that run in an interpreter of their own, with packages that this one does not have (`env=DIR`)."""
