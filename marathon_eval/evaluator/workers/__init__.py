"""Answers the requests of one run in several processes; the process that was started keeps tasks, cache and scores.

`worker` answers units of requests with one loaded model. `pool` hands units to Ray actors (`--workers`); `shares` gives
each process of `accelerate launch` a fixed share.
"""
