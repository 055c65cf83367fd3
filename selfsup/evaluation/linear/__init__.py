"""Linear classifiers on cached features of a frozen backbone.

`feature_cache.py` keeps features on the disk, `head_inputs.py` says which ones a config's head reads, `cached.py` trains heads of every
learning rate on them at once.
"""
