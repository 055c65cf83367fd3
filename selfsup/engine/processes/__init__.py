"""How the processes of a run start, belong together and end.

launch        join the group that the launcher announces, and leave it
joining       how a process finds the others, and says whom it waits for
watch         ends a run in which a process hangs
signs         what processes tell of themselves, and the judgement on it
interruption  signals that ask a run to stop
agreement     all processes stop at the same place
time_limit    when a run must have ended
ddp           the model on its device and on several processes
"""
