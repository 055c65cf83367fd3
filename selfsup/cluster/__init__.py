"""What a batch system says to a job and takes from it; nothing here knows of training.

    slurm     the environment of a Slurm task, as torch wants it

Another batch system is a file beside it.
"""
