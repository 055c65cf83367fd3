"""Logs, curves and last words of a run, through files that outlast their disk."""
