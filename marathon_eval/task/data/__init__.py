"""Reads a task's rows from the Hugging Face hub, folders and data files."""
