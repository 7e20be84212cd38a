"""Every response is stored once, in one sqlite file: entries, repair, export and merge."""
