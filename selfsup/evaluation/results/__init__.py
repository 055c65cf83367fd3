"""Results as data: one JSON file per measurement (`record.py`), and the tables made from such files alone (`tables.py`)."""
