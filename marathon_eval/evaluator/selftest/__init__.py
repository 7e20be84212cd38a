"""Tests a model as a user runs it, on the user's own checkpoint, GPU, kernel or server: `marathon-eval selftest`."""
