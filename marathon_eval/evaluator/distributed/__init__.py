"""Several processes that answer one run: rank 0 keeps the cache, the others answer shares of the requests."""
