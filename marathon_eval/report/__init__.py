"""Results folders made visible: leaderboards, plots, one HTML page that opens from disk. Reads files only."""
