"""What a network is like: its size, its speed, how far it looks."""
