"""A run's directory is its cell: coordinates, and whatever else was overridden."""

import json
from pathlib import Path

import pytest

from loradrift.config import identity
from loradrift.config.benchmarks import BENCHMARK_COORDINATES
from loradrift.config.variants import LONGEST_NAME, earlier_variant, folder_name, variant
from loradrift.runs import Cell, Status, finished_run, open_run, read_record

LONG = [
    "callbacks.activation_dump.every_n_steps=8", "callbacks.activation_dump.enabled=true",
    "callbacks.forgetting.enabled=false", "callbacks.forgetting.tokens=1024",
    "data.train_rows=60", "data.validation_rows=20", "task.max_steps=8", "task.batch_size=4",
    "trainer.validate_every=4", "trainer.checkpoint_every=4", "method.optim.lr=0.001",
]  # fmt: skip
"""More than the name of a folder takes."""

PATH = ["data=local", "data.root=/a/data"]


@pytest.mark.parametrize(
    ("typed", "cell"),
    [
        (["task=mrpc", "method=lora", "seed=3"], "main/mrpc/lora/seed=3"),
        (
            ["method.rank=4", "task=rte", "data.train_rows=50"],
            "main/rte/lora,data.train_rows=50,method.rank=4/seed=0",
        ),
        (["study=drift"], "drift/sst2/lora/seed=0"),
    ],
)
def test_coordinates_and_what_else_is_overridden_name_the_folder(load, typed, cell):
    assert load(*typed).cell == Path("runs", cell)


@pytest.mark.parametrize("watched", ["logger=wandb", "logger.project=p", "runs=x", "cache=y"])
def test_what_only_watches_is_no_variant_and_no_part_of_the_identity(load, watched):
    assert variant([watched, "force=true", "seed=1", "study=drift"]) == ""
    assert identity(load(watched)) == identity(load())


def test_a_server_s_start_is_no_variant_of_a_cell():
    typed = ["engine=vllm_server", "serving.server.port=80", "serving.server.start_timeout_s=9"]
    assert variant(typed, BENCHMARK_COORDINATES) == ""
    assert variant([*typed, "serving.server.requests=3"], BENCHMARK_COORDINATES) != ""


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["method.rank=2", "a=1"], "a=1,method.rank=2"),  # in whatever order it is typed
        (["a.lr=2e-3"], "a.lr=0.002"),  # as a sweep names it
        (["a=1", "a=2"], "a=2"),  # the last counts
    ],
)
def test_a_variant_is_named_after_what_counts(typed, name):
    assert variant(typed) == name


def test_values_become_readable_and_stay_apart():
    values = (
        "/a/base", "/b/base", "/a/base/", "a_base", "[q_proj,v_proj]", "[q_proj]", "'a, b=c'",
        "'a  b=c'", "'größe'", "'gröse'", "'a=b'", "''", "/", "{x:1}", "'../..'",
    )  # fmt: skip
    names = [folder_name("lora", variant([f"model.path={value}"])) for value in values]
    assert len(set(names)) == len(values)
    assert all(len(Path(name).parts) == 1 and name.count(",") == 1 for name in names)
    starts = {0: "a_base~", 1: "b_base~", 4: "q_proj_v_proj~"}
    assert all(names[i].startswith(f"lora,model.path={start}") for i, start in starts.items())


def test_a_long_name_keeps_every_key_and_value_that_fits():
    names = [folder_name("lora", variant([*LONG, f"method.rank={rank}"])) for rank in (2, 4)]
    assert names[0] != names[1] and len(names[0].encode()) <= LONGEST_NAME
    assert ",rank=2," in names[0] and ",rank=4," in names[1]
    for part in ("activation_dump.enabled=True", "forgetting.enabled=False", "lr=0.001"):
        assert f",{part}," in names[0]  # as much of a key as tells it from the others


@pytest.mark.parametrize("value", ["x" * 300, f"'{'ü' * 300}'", "/" + "x" * 300])
def test_no_name_is_longer_than_a_file_system_takes(value):
    many = [f"trainer.very_long_key_{i}={value}" for i in range(40)]
    cases = (many, many[:-1], [many[0]], [f"a={value}"], [*many, "method.target_modules=[q_proj]"])
    names = [folder_name("full_finetune", variant(typed)) for typed in cases]
    assert len(set(names)) == len(cases)
    assert all(len(name.encode()) <= LONGEST_NAME for name in names)
    assert names[-1].startswith("full_finetune,target_modules=q_proj,")  # the method's own go last


@pytest.mark.parametrize("typed", [LONG, PATH, [*LONG, *PATH]])
def test_the_folder_of_an_earlier_version_is_found_skipped_and_gone_on_with(load, tmp_path, typed):
    typed = [*typed, f"runs={tmp_path}"]
    config, earlier = load(*typed), earlier_variant(typed)
    old = tmp_path / "main" / "sst2" / f"lora,{earlier}" / "seed=0"
    assert config.cell.parent.name == folder_name("lora", config.variant) != old.parent.name
    with open_run(config, typed) as cell:
        place = cell.record.coordinates | {"variant": earlier}
        cell.save(status=Status.INTERRUPTED, coordinates=place)
    old.parent.mkdir()
    cell.folder.rename(old)
    assert load(*typed).cell == old
    assert load(*typed, "seed=1").cell.parent == cell.folder.parent  # not there: its name now
    assert read_record(old).coordinates["variant"] == config.variant
    with open_run(config, typed) as again:
        assert (again.folder, again.record.resumed) == (old, 1)
        again.save(status=Status.SUCCESS)
    assert finished_run(load(*typed)) == again.record
    assert json.loads((old / "run.json").read_text())["coordinates"]["variant"] == config.variant


def test_the_name_of_now_comes_before_an_earlier_one(load, tmp_path):
    typed = [*LONG, f"runs={tmp_path}"]
    with open_run(load(*typed), typed) as cell:
        pass
    (tmp_path / "main" / "sst2" / f"lora,{earlier_variant(typed)}" / "seed=0").mkdir(parents=True)
    assert load(*typed).cell == cell.folder


@pytest.mark.parametrize(
    ("status", "kept"), [("success", 0), ("pruned", 0), ("collapsed", 0), ("failed", 1)]
)
def test_a_run_that_came_to_its_end_keeps_no_resume_point(load, tmp_path, status, kept):
    with open_run(load(f"runs={tmp_path}")) as cell:
        cell.best_checkpoint.parent.mkdir()
        for path in (cell.best_checkpoint, cell.last_checkpoint):
            path.touch()
        other = Cell(cell.folder, cell.record, writes=False)  # another process of the same run
        other.save(status=Status(status))
        assert cell.last_checkpoint.exists()
        cell.save(status=Status(status))
    assert cell.best_checkpoint.exists() and cell.last_checkpoint.exists() == kept
