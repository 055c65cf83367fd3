# make demo   fresh machine: install into .venv, pretrain MoCo v2 on the bundled digits, measure before and after
# make test   fresh machine: install into .venv, run all tests: JOBS of them at a time, each with one thread and up to 2 GB of memory
# make lint   rules, format and types, as CI checks them; make format mends the first two
# make test-long   the long ones, which `make test` leaves out: a hundred kills, ...
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# the cores that may be used, but no more than four; JOBS=1 runs one test after the other, in this process
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()))')
# a file stays with one process: what its tests share is made once
PYTEST := $(if $(filter 1,$(JOBS)),,OMP_NUM_THREADS=1) $(BIN)/python -m pytest $(if $(filter 1,$(JOBS)),,-n $(JOBS) --dist loadfile)

.PHONY: demo test test-fast test-long lint format docs install clean

install: $(READY)

$(READY): requirements/tested.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "selfsup needs Python 3.10 or newer; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements/tested.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY) lint
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) -m "not slow and not dist"

test-long: $(READY)
	$(BIN)/python -m pytest -m long

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(READY)
	$(BIN)/python -m selfsup.config.reference > docs/configs.md

clean:
	rm -rf $(VENV) build dist *.egg-info
