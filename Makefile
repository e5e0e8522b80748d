# The two commands of the README, and what a developer needs. Each sets up .venv the first time.
# The newest Python that really runs (a version manager's shims may exist and not run).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: study test test-slow check bench clean

study: .venv/installed
	$(BIN)/python train.py study=drift -m

test: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

check: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/training.py
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/multirun.py
	$(BIN)/python benchmarks/similarity.py

clean:
	rm -rf .venv .cache

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	touch $@
