# Everything that a fresh machine needs is made by the first target that wants it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo bench test lint types floors programs unit e2e test-cluster clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than 3.10; name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed ## build a repository, carry it elsewhere, run its notebook there
	@$(BIN)/python fixtures/demo/run.py

bench: $(VENV)/.installed ## measure against the peers; ARGS="--rows pack" for some rows only
	@$(BIN)/python -m benchmarks $(ARGS)

test: lint types floors unit e2e ## the whole check

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

floors: $(VENV)/.installed
	$(BIN)/lint-imports

PROGRAMS := cc:gcc,libc6-dev faketime:faketime git:git mkfs.btrfs:btrfs-progs \
	mksquashfs:squashfs-tools squashfuse:squashfuse zstd:zstd

programs:
	@tests/debian-packages --optional $(PROGRAMS)

unit: $(VENV)/.installed programs
	$(BIN)/python -m pytest tests/unit tests/conformance

e2e: $(VENV)/.installed programs
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile tests/e2e

CLUSTER ?= .cache/cluster

test-cluster: $(VENV)/.installed ## start servers through a real Slurm and JupyterHub
	UV=$(BIN)/uv PYTHON=$(BIN)/python tests/cluster/set-up $(CLUSTER)
	TEST_CLUSTER=$(CLUSTER) TEST_BUILDER=$(abspath $(BIN))/python \
		$(CLUSTER)/venv/bin/python -m pytest tests/cluster

clean: ## remove what was made here
	rm -rf $(VENV) .cache demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
