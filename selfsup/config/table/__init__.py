"""Parts of the key table, which `config/keys.py` joins: what a row is (`key.py`), and rows that stand in a file of their own.

spread    how a model is spread over processes and compiled
"""
