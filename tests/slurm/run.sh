#!/usr/bin/env bash
# Everything that the documentation says of Slurm, on a real one of this machine: bash tests/slurm/run.sh [name of a case ...]
# Needs root and slurmctld slurmd slurm-client munge; says so where they are missing. Nothing is left running, also after Ctrl-C.
cd "$(dirname "$0")/../.." && exec "${PYTHON:-python}" -m tests.slurm.run "$@"
