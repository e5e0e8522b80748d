"""A run that starts from a run: which runs it can start from, and what it is then called."""

import json
import os

import pytest

from loradrift.config import UserError, identity
from loradrift.files import sha256_of
from loradrift.runs import RunRecord
from loradrift.runs.links import PLACE, chain_at
from loradrift.runs.starts import start_at_run

STEPS = "task.max_steps=7"


def test_the_folder_names_the_tasks_before_and_nothing_that_varies_with_the_seed(
    planted, begin, after, tmp_path
):
    cells = [begin(planted(seed=seed), seed=seed) for seed in (1, 2)]
    assert [str(c.cell) for c in cells] == [
        f"runs/main/mrpc/lora,after=rte/seed={n}" for n in (1, 2)
    ]
    second = planted("mrpc", variant="after=rte", **after(tmp_path / "runs/main/rte/lora/seed=1"))
    third = begin(second, task="sst2")
    assert str(third.cell) == "runs/main/sst2/lora,after=rte+mrpc/seed=1"
    assert [each["task"] for each in third.start["chain"]] == ["rte", "mrpc"]
    assert [link.task for link in chain_at(tmp_path / second, "", tmp_path)] == ["rte", "mrpc"]


def test_a_path_is_the_same_run_however_it_is_typed(planted, begin, tmp_path, monkeypatch):
    folder = planted()
    wanted = begin(folder)
    for typed in (f"{folder}/", tmp_path / folder, f"{folder}/model", f"./{folder}/model/"):
        found = begin(typed)
        assert found.cell == wanted.cell and identity(found) == identity(wanted)
    os.rename(tmp_path / "runs", tmp_path / "moved")  # all runs, and with them their names
    moved = begin(folder.replace("runs", "moved", 1), "runs=moved")
    assert identity(moved)["start"]["chain"] == identity(wanted)["start"]["chain"]
    assert moved.cell.relative_to("moved") == wanted.cell.relative_to("runs")


def test_other_weights_are_another_start(planted, begin, tmp_path):
    folder = planted(method="full_finetune")
    before = identity(begin(folder, method="full_finetune"))
    (tmp_path / folder / "model/head.safetensors").write_text("a head, which is not started from")
    assert identity(begin(folder, method="full_finetune")) == before
    (tmp_path / folder / "model/model.safetensors").write_text("trained again")
    assert identity(begin(folder, method="full_finetune")) != before


def test_the_model_is_named_as_by_the_first_run(planted, begin):
    size = "model.num_layers=2,model=tiny"
    named = begin(planted(variant=f"{size},{STEPS}"), STEPS).variant
    assert named == f"after=rte,{size},{STEPS}"


OTHERS = {
    "method": ({"method": "full_finetune"}, "rte.full_finetune~"),
    "study": ({"study": "my study"}, "rte.my_study~"),
    "seed": ({"seed": 3}, "rte.seed3~"),
    "variant": ({"variant": STEPS}, "rte.task_max_steps_7~"),
    "runs": ({"runs": "elsewhere"}, "rte~"),
}


def test_what_is_not_the_same_is_named_with_a_digest_of_its_own(planted, begin):
    names = []
    for key, (own, shown) in OTHERS.items():
        name = begin(planted(**own)).variant
        assert name.startswith(f"after={shown}"), key
        names.append(name)
    # two that differ alike, in other values
    names += [begin(planted(variant=f"task.max_steps={n}")).variant for n in (8, 9)]
    names += [begin(planted(runs="elsewhere/still")).variant]
    assert len(set(names)) == len(names)


REFUSED = {
    "failed": (
        {"status": "failed", "error": "the loss became nan at step 3"},
        r"model.path=\S+ is failed \(the loss became nan at step 3\): a run starts from one that",
    ),
    "running": ({"status": "running"}, "is running: a run starts from one that has finished"),
    "baseline": ({"method": "majority"}, "is the baseline majority, which trains nothing"),
    "no certificate": ({"certificate": None}, "the certificate of its adapter is not there"),
    "certificate": (
        {"certificate": {"passed": False, "checks": [{"name": "effect", "passed": False}]}},
        r"cannot be started from: the certificate of its adapter does not hold \(effect\)",
    ),
    "benchmark": ({"kind": "serving"}, "is a cell of benchmark=serving: no training to start from"),
    "random": (
        {"config": {"model": {"name": "local", "weights": "random"}}},
        r"was trained on a base model that was drawn at random \(model.weights=random\)",
    ),
    "no model": ({"config": {}}, "damaged .config.model or fingerprints.base_model is absent"),
    "no place": ({"coordinates": {"task": "rte"}}, "run.json is damaged .coordinates.study is abs"),
    "task": (
        {"coordinates": dict.fromkeys(PLACE, "x")},
        "is of task=x, which this version does not know",
    ),
    "start": ({"start": {"run": "x"}}, "run.json is damaged .start: "),
    "text": ({"certificate": "passed"}, "run.json is damaged .certificate is of another form"),
    "list": ({"certificate": {"checks": ["effect"]}}, "damaged .certificate is of another form"),
    "other files": (
        {"certificate": {"passed": True, "files": {"model.safetensors": "0" * 64}}},
        r"cannot be started from: \S+model.safetensors is not the file that the run wrote",
    ),
    "other head of full fine-tuning": (
        {"method": "full_finetune", "exported": {"head.safetensors": "0" * 64}},
        r"cannot be started from: \S+head.safetensors is not the file that the run wrote",
    ),
    "exported": ({"exported": ["x"]}, "damaged .exported must be an object, got list"),
    "no file": (
        {"certificate": {"passed": True, "files": {"head.safetensors": "0" * 64}}},
        r"cannot be started from: \S+head.safetensors is not .*, and is nothing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_that_has_left_nothing_to_start_from_is_refused(planted, begin, name):
    own, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as error:
        begin(planted(**own))
    assert "\n" not in str(error.value)


def test_a_certificate_of_another_adapter_is_none(planted, begin, tmp_path):
    folder, name = tmp_path / planted(), "model.safetensors"
    written = {name: sha256_of(folder / "model" / name)}
    record = json.loads((folder / "run.json").read_text()) | {"exported": written}
    other = {"passed": True, "files": {name: "0" * 64}}
    (folder / "run.json").write_text(json.dumps(record | {"certificate": other}))
    with pytest.raises(UserError, match="is not the file that the run wrote: its sha256 was 0000"):
        begin(folder)
    record["certificate"] = other | {"files": written}
    (folder / "run.json").write_text(json.dumps(record))
    assert begin(folder).start


def test_a_damaged_record_and_a_lost_model_or_beginning_are_named(planted, begin, after, tmp_path):
    folder = tmp_path / planted()
    second = planted("mrpc", variant="after=rte", **after(folder))
    (folder / "model").rename(folder / "elsewhere")
    with pytest.raises(UserError, match="has left no model: its folder model/ holds none"):
        begin(folder)
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match="run.json is damaged"):
        begin(folder)
    (folder / "run.json").unlink()
    with pytest.raises(
        UserError, match=r"mrpc\S+ began with the run \S*rte/lora/seed=1, which is not"
    ):
        begin(second, task="sst2")


def test_a_task_comes_once(planted, begin, after, tmp_path):
    first = planted()
    second = planted("mrpc", variant="after=rte", **after(tmp_path / first))
    for task, path, chain in (("rte", first, "rte"), ("rte", second, "rte -> mrpc")):
        with pytest.raises(UserError, match=f"task=rte .* once, and up to that run it is {chain}$"):
            begin(path, task=task)


def test_a_named_model_is_not_given_a_run_of_another_one(planted, load):
    folder = planted()
    for name in ("smollm2", "tinyllama", "llama_3_1_8b"):
        typed = [f"model={name}", f"model.path='{folder}'"]
        with pytest.raises(
            UserError, match=f"model={name} model.path={folder}: that run was .*=tiny"
        ):
            start_at_run(load(*typed), typed)


@pytest.mark.parametrize("task", ["persona", "reconstruction"])
def test_what_is_compared_with_a_base_model_starts_from_one(planted, begin, task):
    with pytest.raises(UserError, match=f"is a run: task={task} starts from a base model, and not"):
        begin(planted(), task=task)


def test_random_weights_are_no_start(planted, begin):
    with pytest.raises(
        UserError, match="is a run, whose weights model.weights=random would not lo"
    ):
        begin(planted(), "model.weights=random")


def test_a_model_that_was_pretrained_here_is_a_base_like_any_other(planted, begin):
    folder = planted("pretrain", "from_scratch")
    config = begin(folder)
    assert config.model.path == f"{folder}/model" and not config.start
    assert "after=" not in config.variant


def test_a_start_is_not_typed(load):
    with pytest.raises(UserError, match="start must be left out: it follows from what else is"):
        load("+start.run=x")


def test_a_record_without_a_start_began_with_its_base_model():
    record = RunRecord(coordinates={}, config={}, fingerprints={"base_model": "b"})
    assert record.started_from == "b"
    record.start = {"fingerprint": "f"}
    assert record.started_from == "f"
