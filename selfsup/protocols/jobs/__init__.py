"""What runs somewhere else, later: options here -> a job of a batch system, which does there what a tool does.

    submission    training, as tools/train.py does it

What is sent and what comes back is in the room `cluster`. To send something else, give it a file beside it.
"""
