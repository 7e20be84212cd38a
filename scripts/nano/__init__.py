"""Trains the demonstration model nano: its training sounds, tokenizer, training and test data."""
