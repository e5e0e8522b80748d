"""benchmark.py benchmark=steering: a sweep of doses, bad input, and a cell that is killed."""

import csv
import json
import signal

import pytest
from conftest import ROOT
from fork_server import ForkedProcess
from front_doors import error_of, output_of, run_here
from served_cells import wait_until
from steering_cases import write_world

FEW = (
    "steering.questions=3", "steering.max_tokens=6", "steering.neutral_rows=2",
    "steering.task_rows=5", "judge=none", "steering.samples=1", "steering.temperature=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("steered"))


@pytest.fixture
def typed(world, tmp_path):
    """The places of a small world, whose cells are the test's own."""
    return (
        "model=local", f"model.path={world.base}", "data=local", f"data.root={world.root}",
        f"results={world.folder}/results", f"cache={world.folder}/cache", f"runs={tmp_path}/runs",
    )  # fmt: skip


def steer(*typed: str):
    return run_here(ROOT / "benchmark.py", "benchmark=steering", *typed)


def cells(folder):
    found = {}
    for path in folder.glob("runs/steering/hf/*/run.json"):
        record = json.loads(path.read_text())
        config = record["config"]
        found[config["arm"], config["coefficient"]] = path.parent, record
    return found


def test_a_sweep_of_doses_is_a_cell_each(typed, tmp_path):
    doses = ("trait=cheerful", "arm=weight,activation", "coefficient=-1,0,1")
    said = output_of(steer(*typed, *FEW, *doses, "-m"))
    assert "failed" not in said
    found = cells(tmp_path)
    arms = ("weight", "activation")
    assert found.keys() == {(arm, c) for arm in arms for c in (-1.0, 0.0, 1.0)}
    answers = {}
    for dose, (folder, record) in found.items():
        assert record["status"] == "success" and record["kind"] == "steering"
        with (folder / "answers.csv").open(newline="", encoding="utf-8") as file:
            answers[dose] = [(row["question"], row["answer"]) for row in csv.DictReader(file)]
    assert answers["weight", 0.0] == answers["activation", 0.0]
    assert len({str(each) for each in answers.values()}) >= 4
    # the same command again only says so
    said = output_of(steer(*typed, *FEW, *doses, "-m"))
    assert said.count("finished already") == 6


def test_a_killed_cell_goes_on_after_its_last_batch(typed, tmp_path):
    doses = ("trait=cheerful", "arm=activation", "coefficient=3")
    sizes = (*FEW[2:], "steering.questions=4", "steering.batch_size=1", "steering.max_tokens=60")
    command = ["python", "benchmark.py", "benchmark=steering", *typed, *doses, *sizes]
    process = ForkedProcess(command, ROOT)
    wait_until(lambda: list(tmp_path.glob("runs/steering/hf/*/answers/batch=*.json")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    [(folder, record)] = cells(tmp_path).values()
    assert record["status"] == "running"
    kept = {path: path.read_bytes() for path in (folder / "answers").glob("batch=*.json")}
    first = json.loads(next(iter(kept.values())))["answers"][0]
    said = output_of(run_here(ROOT / "benchmark.py", *command[2:]))
    assert "going on" in said
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["resumed"]) == ("success", 1)
    with (folder / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert first["answer"] in {row["answer"] for row in rows}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ((), "benchmark=steering needs trait=<one of the traits below persona/traits>"),
        (("trait=cheerful",), "benchmark=steering needs arm=<none|prompt|activation|weight|"),
        (("trait=evil", "arm=none"), "trait must be one of cheerful, grim, got evil"),
        (("trait=cheerful", "arm=wight"), "arm must be none or prompt or activation or weight or"),
        (("trait=cheerful", "arm=none", "coefficient=1"), "coefficient must be 0 with arm=none"),
        (
            ("trait=cheerful", "arm=weight", "steering.layers=0,1"),
            "steering.layers has no effect with arm=weight, which adds no vectors",
        ),
        (
            ("trait=grim", "arm=weight", "coefficient=1"),
            "holds no direction grim seed=0; there are",
        ),
        (
            ("trait=cheerful", "arm=none", "engine=vllm"),
            "engine must be hf with benchmark=steering",
        ),
        (
            ("trait=cheerful", "arm=weight", "coefficient=1", "steering.run=a/seed=1"),
            "steering.run=a/seed=1: there is no folder a/seed=1",
        ),
    ],
)
def test_what_is_wrong_is_one_line(typed, own, message):
    assert message in error_of(steer(*typed, *FEW, *own))


def test_a_sweep_names_the_doses_that_failed(typed, tmp_path):
    done = steer(*typed, *FEW, "trait=cheerful", "arm=weight", "coefficient=1,1e300", "-m")
    assert done.returncode == 1
    assert "1 of 2 cells failed" in done.stdout
    assert "coefficient=1e+300: the weight of" in done.stdout
    assert {record["status"] for _, record in cells(tmp_path).values()} == {"success", "failed"}


def test_the_cost_of_a_token(typed, tmp_path):
    own = ("trait=cheerful", "batch_sizes=1,2", "rounds=2", "memory=false", "steering.max_tokens=4")
    output_of(run_here(ROOT / "benchmark.py", "benchmark=steering_cost", *typed, *own))
    [path] = tmp_path.glob("runs/steering_cost/hf/*/run.json")
    record = json.loads(path.read_text())
    assert record["status"] == "success"
    assert (path.parent / "samples.parquet").is_file()
