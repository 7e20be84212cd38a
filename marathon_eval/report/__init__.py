"""Shows result folders as leaderboards, plots and one HTML page that opens from disk; it only reads files."""
