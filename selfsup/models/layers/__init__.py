"""Torch modules and functions that are usable on their own."""
