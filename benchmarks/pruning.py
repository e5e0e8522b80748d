"""What pruning saves: the same search without it, and with two pruners.

All are run by train.py, in folders of their own; steps are counted from the runs' records::

    python benchmarks/pruning.py search=lora task=mrpc [any override]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print steps done and best value of each."""
    typed = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for pruner in ("none", "median", "successive_halving"):
            runs = Path(folder, pruner)
            command = [sys.executable, "train.py", *typed, "-m", f"hydra.sweeper.pruner={pruner}"]
            command += [f"runs={runs}", f"results={runs}/results"]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            records = [json.loads(path.read_text()) for path in runs.rglob("run.json")]
            finished = [record for record in records if record["status"] == "success"]
            metric = f"validation/{records[0]['config']['task']['metric']}"
            print(
                f"{pruner}: {len(records)} trials, {len(finished)} to the end, "
                f"{sum(record['steps'] for record in records)} steps, "
                f"best {max(record['metrics'][metric] for record in finished):.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
