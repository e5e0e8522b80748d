"""The training loop, side by side with what a user would write instead.

Every figure is the median over rounds of a ratio within the round, in which the candidates take
turns, on one thread, in CPU time (which other processes disturb little). ``make bench``, or::

    python benchmarks/training.py [--model FOLDER] [--data FOLDER] [--rounds 5] [--steps 40]

Without ``--model`` and ``--data`` it measures ``model=tiny`` (random weights) on the embedded data.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
import transformers
from contenders import time_bare, time_ours, time_trainer
from hydra import compose, initialize_config_dir
from measure import ratio, take_turns, timed

from loradrift import config as configuration
from loradrift.activations import ActivationStore, Pooling
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.config import Config
from loradrift.data import Collator
from loradrift.tasks.prepared import PreparedData
from loradrift.training import build, run
from loradrift.training.prepared_data import prepare
from loradrift.training.train import quiet

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a Hugging Face model folder")
    parser.add_argument("--data", help="a folder with GLUE's official files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = compose_config(options, folder)
        inputs = prepare(config, pretrain=run)
        print(
            f"{inputs.model.path}, {config.data.name} SST-2, {options.rounds} rounds of "
            f"{options.steps} steps, batch {config.task.batch_size}, 1 thread\n"
        )
        print("| what | measured | wanted |\n|---|---|---|")
        bench_loops(config, inputs, folder, options.rounds)
        bench_padding(config, inputs, folder, options.rounds)
        bench_dump(config, inputs, folder, options.rounds)
        bench_front_door(options.rounds)


def compose_config(options: argparse.Namespace, folder: Path) -> Config:
    """A LoRA run on SST-2."""
    configuration.register()
    overrides = [f"task.max_steps={options.steps}", "task.max_length=128", "trainer.log_every=10"]
    overrides += [f"runs={folder}/runs", "trainer.guard_steps=5"]
    if options.model:
        overrides += ["model=local", f"model.path={options.model}"]
    else:
        overrides += ["model.pretraining.task.max_steps=1"]
    if options.data:
        overrides += ["data=local", f"data.root={options.data}"]
    with initialize_config_dir(str(ROOT / "conf")):
        return configuration.load(compose("train", overrides))


def bench_loops(config: Config, inputs: PreparedData, folder: Path, rounds: int) -> None:
    """Ours against transformers' Trainer and a bare PyTorch loop, on the very same batches."""
    batches = list(build.train_batches(config, inputs, build.ALONE, config.task.max_steps or 0))
    candidates = {
        "ours": lambda: time_ours(config, inputs, folder, batches),
        "trainer": lambda: time_trainer(config, inputs, folder, batches),
        "bare": lambda: time_bare(config, inputs, batches),
    }
    seconds = take_turns(candidates, rounds)
    row(
        "training tokens/s, ours / transformers Trainer",
        ratio(seconds, "trainer", "ours"),
        ">= 1.00",
    )
    row("time of our loop / a bare PyTorch loop", ratio(seconds, "ours", "bare"), "<= 1.05")


def bench_padding(config: Config, inputs: PreparedData, folder: Path, rounds: int) -> None:
    """The same rows in length-grouped batches and padded to 128."""
    order = build.train_batches(config, inputs, build.ALONE, config.task.max_steps or 0)
    grouped = list(order)
    fixed = Collator(inputs.collate.pad_id, fixed_length=128)
    padded = [fixed(inputs.train, batch["index"].tolist()) for batch in grouped]
    candidates = {
        "grouped": lambda: time_ours(config, inputs, folder, grouped),
        "padded": lambda: time_ours(config, inputs, folder, padded),
    }
    seconds = take_turns(candidates, rounds)
    row(
        "tokens/s on SST-2, length-grouped / padded to 128",
        ratio(seconds, "padded", "grouped"),
        ">= 1.50",
    )


def bench_dump(config: Config, inputs: PreparedData, folder: Path, rounds: int) -> None:
    """One dump of the callback against the bare forwards it needs, and against the usual way."""
    task = build.build_task(config, inputs, 1).task.eval()
    probe = inputs.probe
    assert probe is not None
    folders = iter(range(10**6))
    trainer: Any = SimpleNamespace(
        is_global_zero=True, precision_plugin=pl.plugins.Precision(), global_step=0
    )
    usual = folder / "all-tokens.pt"

    def dump() -> None:
        store = ActivationStore(folder / f"dump-{next(folders)}")
        callback = ActivationDump(store, probe, 1, Pooling())
        callback.on_train_start(trainer, task)
        callback.on_train_end(trainer, task)

    @torch.inference_mode()
    def forwards() -> None:
        for batch in probe.batches:
            task.backbone.encode(batch["input_ids"])

    @torch.inference_mode()
    def output_hidden_states() -> None:
        states = [
            task.backbone.decoder(
                input_ids=batch["input_ids"], output_hidden_states=True
            ).hidden_states
            for batch in probe.batches
        ]
        torch.save(states, usual)

    candidates = {"dump": dump, "forwards": forwards, "usual": output_hidden_states}
    seconds = take_turns({k: lambda f=f: timed(f) for k, f in candidates.items()}, 3 * rounds)
    written = folder / "dump-0" / "step=000000.safetensors"
    row("time of one dump / bare probe forwards", ratio(seconds, "dump", "forwards"), "<= 1.15")
    row(
        "time of output_hidden_states + torch.save / one dump",
        ratio(seconds, "usual", "dump"),
        "",
    )
    row(
        "bytes of output_hidden_states + torch.save / one dump",
        usual.stat().st_size / written.stat().st_size,
        "",
    )


def bench_front_door(rounds: int) -> None:
    """Seconds from the command to its answer."""
    for arguments in (["--help"], ["--cfg", "job"]):
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            command = [sys.executable, "train.py", *arguments]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
        row(f"`train.py {' '.join(arguments)}`, seconds", statistics.median(times), "<= 1.00")


def row(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"| {what} | {value:.2f} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
