"""Exact resume: what a checkpoint says of its run, whether it belongs to this run, and how its state comes back.

Start reading at `saving.Checkpoints`: `save` and `resume` call the rest in order.

    lineage, branch         which file was trained on from which; the line that a run writes into its work dir
    snapshot, writer        a copy of the state, and the thread that writes it while training goes on
    checkpoint              find the newest, keep other runs out of the work dir
    settings, judging,      every setting under one name; what becomes of a difference; the run of a checkpoint held
    comparison, changes     against this one; what differs
    state                   seeds of an iteration, and the fingerprint of what must not change
    state_checks            the form of what stands beside the weights, before any of it is used
    training_state          the optimizer's state and the schedules
"""
