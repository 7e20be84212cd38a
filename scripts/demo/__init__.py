"""Builds the demo dataset (scripts/demo/make_mini): sources of sound, clips, and each task's folder."""
