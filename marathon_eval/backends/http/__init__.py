"""Provides what the adapters of all HTTP APIs share. Imports no vendor's SDK."""
