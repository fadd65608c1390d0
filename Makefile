# Every target does its own set-up: Python 3.11 to 3.13 and make are all that a fresh machine needs.

PYTHON ?= python3
# Installed first, so that the range in pyproject.toml is satisfied and pip looks for no other build.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
PLANS = $(shell find dsl/std examples -name '*.plan' 2>/dev/null | sort)
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check fmt clean

help: ## Show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=$(PYTHON)  TORCH=$(TORCH)"

demo: $(READY) ## Check, cost, run and train real networks (minutes on 2 cores)
	$(BIN)/python examples/demo.py

test: check ## Formatting, lint, types and the quick tests
	$(PYTEST) -m "not slow"

test-all: check ## The same with the slow sweeps
	$(PYTEST) --hypothesis-profile=sweep

check: $(READY) ## Formatting, lint and types alone
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(if $(PLANS),$(BIN)/planform fmt --check $(PLANS))

fmt: $(READY) ## Format Python and plans in place; write the generated docs
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(if $(PLANS),$(BIN)/planform fmt $(PLANS))
	$(BIN)/python docs/generate.py

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Planform needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV); the first time takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) --editable '.[dev]'
	mkdir -p $(VENV)/import
	ln -sfn ../.. $(VENV)/import/planform
	@touch $@
