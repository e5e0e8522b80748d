# The two commands of the README, and what a developer needs. Each sets up .venv the first time.
PYTHON ?= $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || echo python3)
BIN := .venv/bin

.PHONY: study test test-slow check bench clean

study: .venv/installed
	$(BIN)/python train.py study=drift

test: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

test-slow: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

check: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/training.py

clean:
	rm -rf .venv .cache

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	touch $@
