"""Makes the reference pages of the documentation site, one module per kind of page."""
