"""What a batch system says to a job and takes from it; nothing here knows of training.

    slurm     the environment of a Slurm task, as torch wants it
    meeting   waiting for other machines and processes, with words
    agent     what torchrun's agent does without a word, told
    signals   what a launcher does with those that it gets
    leaving   a process ends when its launcher is gone
    tree      the processes of this machine: whose children they are, what they have used

Another batch system is a file beside it.
"""
