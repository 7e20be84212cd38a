"""Where the rows of a task come from: the hub, folders and tables."""
