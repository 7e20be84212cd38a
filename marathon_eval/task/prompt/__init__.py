"""Builds the text of a request: Jinja templates in a sandbox, and the layout of answer options."""
