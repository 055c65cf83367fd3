"""What a network is like: its size and FLOPs (`parameters.py`), its speed (`throughput.py`), how far it looks (`receptive_field.py`)."""
