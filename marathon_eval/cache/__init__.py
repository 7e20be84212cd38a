"""Stores every response once, in one sqlite file.

`answers` looks requests up and stores responses, `entry` defines what an entry holds, `entries` lists, checks and
deletes entries, `salvage` repairs a damaged file, `exchange` exports and merges caches, and `rank_files` collects
what the ranks of a distributed run stored.
"""
