"""Tar shards: which they are, what lies in them, and how a member is read.

`patterns.py` makes a list of shards from patterns, `places.py` says where each lies (a file, or a URL: `urls.py`) and whether it is the one
that was seen before. `scan.py` reads the headers of one shard, `samples.py` finds samples among its members, `index.py` those of all
shards, kept in a file; `labels.py` numbers their classes, `remarks.py` warns of damage. `store.py` is the bounded folder of fetched and
unpacked shards, `reader.py` reads members. `web_dataset.py`, beside this folder, is the data source on top.
"""
