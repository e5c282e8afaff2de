# `make` lists the targets. Everything lives in .venv and in the instance directories of stack/.
PYTHON ?= python3
WORKERS ?= 1
ROUNDS ?= 25
SEED ?= 1
BIN := .venv/bin

.PHONY: help demo test test-all lint format servers up down wipe status bench bench-models bench-faces chaos generated clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

# The environment is made again when what it is made from changes.
.venv/runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "environment   .venv, installing packages …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[stack]'
	@touch $@

.venv/development: .venv/runtime
	@echo "environment   .venv, installing what tests need (with torch: some GB) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[stack,models,test,lint]'
	@touch $@

demo: .venv/runtime ## Real servers, bridge and worker; two posts with images end to end, and one that cannot be completed
	@$(BIN)/python -m demo

test: .venv/development lint ## Lint, types and tests, on the real servers
	@$(BIN)/python -m pytest -m "not slow"

test-all: .venv/development lint ## Also what is too long for every run, and the acceptance tests with engine `models`
	@$(BIN)/python -m pytest --hypothesis-profile=thorough
	@STREAMAPP_TEST_ENGINE=models $(BIN)/python -m pytest tests/acceptance -m "not slow"

lint: .venv/development
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/streamapp contracts --check

format: .venv/development ## Put the code in its form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

servers: .venv/runtime ## The four servers only, with tables, topics and indices; writes .env
	@$(BIN)/python -m stack up --migrate

up: .venv/runtime ## Servers, bridge and WORKERS=n workers in the background; writes .env
	@$(BIN)/python -m stack up --with-app --workers $(WORKERS)

down: ## Stop all of it
	@test ! -x $(BIN)/python || $(BIN)/python -m stack down

wipe: ## Stop all of it and delete its data
	@test ! -x $(BIN)/python || $(BIN)/python -m stack wipe

status: .venv/runtime ## What runs, where
	@$(BIN)/python -m stack status

generated: .venv/runtime ## Write the files that are generated from the code
	@$(BIN)/python -m stack.example > .env.example
	@$(BIN)/streamapp contracts --write

bench: .venv/runtime ## Latencies and rates of this machine
	@$(BIN)/python -m bench

bench-models: .venv/development ## Images/s of engine `models`, real sizes with random weights, against bare loops
	@$(BIN)/python -m bench.models

bench-faces: .venv/runtime ## Recall and speed of the search among 100,000 known faces, against exact search
	@$(BIN)/python -m bench.faces

chaos: .venv/runtime ## ROUNDS=n rounds of kill -9 under load, checked against an undisturbed run of the same SEED=s
	@$(BIN)/python -m chaos --rounds $(ROUNDS) --seed $(SEED)

clean: down ## Remove the environment; data stays (make wipe)
	rm -rf .venv
