"""Reads task YAML files and turns their rows into documents, prompts and requests."""
