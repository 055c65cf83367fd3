"""How the processes of a run start, belong together and end.

launch    join the group that the launcher announces, and leave it
ddp       the model on its device and on several processes, each with all of it
fsdp      the model dealt out over the processes
compiling torch.compile for a model
"""
