"""Runs one evaluation in several processes: rank 0 owns the cache, the other ranks answer shares of the requests."""
