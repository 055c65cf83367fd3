"""Exact resume: which checkpoint is next, whether it belongs to this run, and how its state comes back."""
