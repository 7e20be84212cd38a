"""Results folders made visible: leaderboards, plots, and one HTML page that opens from disk. Reads files only."""
