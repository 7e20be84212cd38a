"""Models behind an HTTP API: what every vendor's adapter shares. No SDK is imported here."""
