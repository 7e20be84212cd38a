"""The demonstration model: the sounds it is taught on, its tokenizer, its training, its test data."""
