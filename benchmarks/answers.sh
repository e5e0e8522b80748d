#!/usr/bin/env bash
# The first question of docs/answers.md at full size, on one GPU, which nobody has run yet (the answer there rests on shorter
# runs on a CPU): SmolLM2-135M, every row of SST-2, MRPC and RTE, five seeds; then SST-2's frontier over learning rates, and
# the chain of tasks. Typed again it goes on where it was stopped.
#
#   benchmarks/answers.sh data=hub                      # or data=local data.root=<folder>, and model.path=<folder>
#   benchmarks/answers.sh data=hub study.dry_run=true   # what there is to do, and what it takes
set -euo pipefail
cd "$(dirname "$0")/.."
whole=(scale=small trainer=gpu task.max_steps=null trainer.validate_every=500 seed=42,1337,2024,7,123 "$@")
python=$(test -x .venv/bin/python && echo .venv/bin/python || echo python)
"$python" train.py study=drift -m task.epochs=3 hydra.launcher.n_jobs=1 "${whole[@]}"
"$python" train.py study=frontier -m task=sst2 task.epochs=1 hydra.launcher.n_jobs=1 "${whole[@]}"
"$python" train.py study=sequence -m task.epochs=3 hydra.launcher.n_jobs=1 "${whole[@]}"
