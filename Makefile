# make demo   fresh machine: install into .venv, pretrain MoCo v2 on the bundled digits, measure before and after
# make test   fresh machine: install into .venv, run all tests
# make lint   rules, format and types, as CI checks them; make format mends the first two
# make test-long   the long ones, which `make test` leaves out: a hundred kills, ...
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

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
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow and not dist"

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
