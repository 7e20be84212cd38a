"""Stores every response once, in one sqlite file.

`answers` looks requests up and stores responses, `entry` defines what an entry holds, `entries` lists, checks and
deletes entries, `scan` reads all of them without parsing, `salvage` repairs a damaged file, `clean_mark` says when to look for
damage, `exchange` exports and merges caches, and `rank_files` collects what the processes of one launch stored.
"""
