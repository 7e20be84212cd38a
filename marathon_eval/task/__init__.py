"""Tasks: from a YAML file to documents, prompts and requests."""
