# Everything a newcomer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# A test process a core, whoever is free takes the next; each holds up to a gigabyte.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal
export OMP_NUM_THREADS := 1

.PHONY: help quickstart check test slow benchmarks format clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

quickstart: $(VENV)/.train  ## the sample crawl from WARC files to a trained tiny IDEFICS, in minutes
	$(BIN)/carnac sample runs/sample
	$(BIN)/carnac run configs/quickstart.yaml
	$(BIN)/carnac sample runs/sample --check configs/quickstart.yaml
	$(BIN)/carnac train configs/train-quickstart.yaml
	@echo
	@echo 'The crawl lies in runs/sample, the shards and their card in runs/quickstart/corpus, the model in runs/quickstart/training/model.'
	@echo 'Next: $(BIN)/carnac explain configs/quickstart.yaml URL, or your own WARC files: see README.md.'

check: $(VENV)/.test  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.test  ## all tests but the slow ones
	$(BIN)/pytest -m 'not slow' $(PARALLEL)

slow: $(VENV)/.test  ## the slow tests
	$(BIN)/pytest -m slow $(PARALLEL)

benchmarks: $(VENV)/.test  ## every figure measured anew, into tests/benchmarks/README.md: some 40 minutes
	$(BIN)/python -m tests.benchmarks

format: $(VENV)/.test  ## mend what lint and format can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and all runs
	rm -rf $(VENV) runs

$(VENV)/.train: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'carnac needs Python 3.11 or later: make PYTHON=python3.12 …'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.test: $(VENV)/.train
	$(INSTALL) --editable '.[test]'
	@touch $@
