"""Answers the requests of one run in several processes; the process that was started keeps tasks, cache and scores.

`worker` answers units of requests with one loaded model. `asking` sends requests by one of two functions: `pool` hands units to
Ray actors (`--workers`), and `shares` gives each process of `accelerate launch` a fixed share.
"""
