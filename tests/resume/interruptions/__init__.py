"""Runs that are interrupted again and again at random moments, and go on each time with the same command.

`methods` writes their configs, `plan` draws what happens and when, `starts` starts processes and ends them, `journal` is the hook through
which a run says how far it is, and `series` judges. The whole of it, with its result written as JSON:

    python -m tests.resume.interruptions --out tests/resume/results/hundred_kills_fifty_signals.json
"""
