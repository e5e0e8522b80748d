"""A chain of two tasks, by the study and by hand: where a step starts, and what it leaves."""

import json
from functools import partial

import pytest
import torch
from conftest import SMALL
from front_doors import analyze, error_of, output_of
from leavings import assert_same, cells
from safetensors.torch import load_file, save_file

from loradrift.activations import ActivationStore
from loradrift.diagnose import find_case
from loradrift.training import chain

pytestmark = pytest.mark.end_to_end

STUDY = (
    "study=sequence", "-m", "hydra/launcher=basic", "seed=1", "task=rte,mrpc",
    "method=full_finetune,lora", "study.phases=[base,chain]",
)  # fmt: skip


def found(runs, study, task, method):
    """The only run of a task and method, and its record."""
    [item] = [
        (name, record)
        for name, record in cells(runs / study).items()
        if name.startswith((f"{task}/{method},", f"{task}/{method}/"))
    ]
    return runs / study / item[0], item[1]


def right(folder):
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return sum(row["label"] == row["prediction"] for row in rows) / len(rows)


@pytest.fixture
def again(train_here):
    """Train a task by hand, from a folder."""
    small = [each for each in SMALL if not each.startswith("model.")]

    def run(folder, *typed, **options):
        own = [*small, "model=local", f"model.path={folder}", "seed=1", *typed]
        return train_here(*own, small=False, **options)

    return run


def test_a_study_of_two_tasks_starts_each_step_from_the_one_before(train_here, compute, tmp_path):
    runs = tmp_path / "runs"
    output_of(train_here(*STUDY))
    for method in ("full_finetune", "lora"):
        first, one = found(runs, "sequence", "rte", method)
        second, two = found(runs, "sequence", "mrpc", method)
        # the first step is the ordinary run, to the digit
        folder, ordinary = compute("task=rte", f"method={method}", "seed=1")
        assert ordinary.metrics == one["metrics"] and not ordinary.start and not one["start"]
        assert ordinary.fingerprints == one["fingerprints"]
        name = "model.safetensors" if method == "full_finetune" else "adapter_model.safetensors"
        assert_same(folder, first, f"model/{name}", "model/head.safetensors", "predictions.jsonl")
        # the second starts where the first ended
        assert f"{method},after=rte," in str(second)
        assert [each["task"] for each in two["start"]["chain"]] == ["rte"]
        assert two["fingerprints"]["base_model"] == one["fingerprints"]["base_model"]
        assert two["start"]["fingerprint"] != one["fingerprints"]["base_model"]
        assert ("chain" in two["fingerprints"], "chain" in one["fingerprints"]) == (True, False)
        before, after = (
            two["metrics"]["forgetting/loss_before"],
            one["metrics"]["forgetting/loss_after"],
        )
        assert before == pytest.approx(after, abs=1e-5)
        # the earlier task again, with its own head and probe
        earlier = {
            key: value for key, value in two["metrics"].items() if key.startswith("earlier/")
        }
        assert earlier.keys() == {f"earlier/rte/{key}" for key in ("accuracy", "f1", "loss")}
        assert right(second / "chain/rte") == pytest.approx(
            earlier["earlier/rte/accuracy"], abs=1e-6
        )
        store = ActivationStore(second / "chain/rte/activations")
        assert store.steps == [two["steps"]] == [12]
        theirs, base = (
            ActivationStore(first / "activations"),
            ActivationStore(second / "chain/first_base"),
        )
        assert store.manifest["probe"] == theirs.manifest["probe"]
        own = ActivationStore(second / "activations")
        assert base.steps == [0] and base.manifest["probe"] == own.manifest["probe"]
        assert not torch.allclose(own.read(0)["layer_1"], base.read(0)["layer_1"])
    # a later reader of the adapter has the base that it was trained on
    assert find_case(str(second), None).prints.loaded == two["start"]["fingerprint"]
    told = analyze(tmp_path, "analysis.study=sequence")
    assert "2 runs started from another run, and not from a base model" in told.stdout + told.stderr
    assert "analysis=sequence reads them" in told.stdout + told.stderr


def test_a_step_that_moves_nothing_gives_every_earlier_figure_again(compute, again, tmp_path):
    first, one = compute("task=rte", "method=full_finetune", "seed=1")
    folder, _ = compute("task=mrpc", "method=head_only", "seed=1")
    output_of(again(first, "task=mrpc", "method=head_only", "study.name=still"))
    still, two = found(tmp_path / "runs", "still", "mrpc", "head_only")
    for key in ("accuracy", "f1", "loss"):
        assert two["metrics"][f"earlier/rte/{key}"] == one.metrics[f"evaluation/{key}"]
    later, own = (each / "predictions.jsonl" for each in (still / "chain/rte", first))
    assert later.read_bytes() == own.read_bytes()
    # of the very first base, on the later task's probe: what a run on that base has at step 0
    shards = (still / "chain/first_base", folder / "activations")
    wanted, got = (load_file(each / "step=000000.safetensors") for each in shards)
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)
    # the same cell however its start is typed, and it is done
    done = again(f"{first}/model/", "task=mrpc", "method=head_only", "study.name=still")
    assert "finished already" in output_of(done)


def test_a_run_that_is_stopped_while_it_looks_back_goes_on(compute, again, tmp_path, monkeypatch):
    first, _ = compute("task=rte", "method=lora", "seed=1")
    typed = ("task=mrpc", "method=lora", "callbacks.activation_dump.enabled=false")
    run = partial(again, first, *typed)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chain, "evaluate_earlier", stop)
        assert run().returncode == 130
    folder, record = found(tmp_path / "runs", "main", "mrpc", "lora")
    assert record["status"] == "interrupted" and not (folder / "chain").exists()
    # it goes on from the same weights alone
    path = folder / "run.json"
    other = record | {"start": record["start"] | {"fingerprint": "of others"}}
    path.write_text(json.dumps(other))
    assert "since then start (the weights that it began with) changed" in error_of(run())
    path.write_text(json.dumps(record))
    output_of(run())
    record = json.loads(path.read_text())
    assert record["status"] == "success" and record["resumed"] == 1
    # the dumps are left out, as typed
    assert {each.name for each in (folder / "chain/rte").iterdir()} == {"predictions.jsonl"}
    assert not (folder / "chain/first_base").exists()
    assert right(folder / "chain/rte") == pytest.approx(
        record["metrics"]["earlier/rte/accuracy"], abs=1e-6
    )


def test_what_an_earlier_task_needs_is_there_before_anything_is_trained(compute, again, tmp_path):
    """Its own rows, and a head of this model's width."""
    first, record = compute("task=rte", "method=head_only", "seed=1")
    path, head = first / "run.json", first / "model/head.safetensors"
    whole = json.loads(path.read_text())

    def error():
        said = error_of(again(first, "task=mrpc", "method=head_only"))
        folder, _ = found(tmp_path / "runs", "main", "mrpc", "head_only")
        assert not (folder / "metrics.csv").exists() and not (folder / "model").exists()
        return said

    prints = record.fingerprints | {"evaluation_rows": "others"}
    path.write_text(json.dumps(whole | {"fingerprints": prints}))
    said = error()
    assert "rte cannot be evaluated as in" in said and "evaluation_rows changed since" in said
    for other, why in (
        ({"callbacks": {}}, "config.callbacks.activation_dump is absent"),
        ({"task": None}, "run.json: its task cannot be read by this version"),
    ):
        path.write_text(json.dumps(whole | {"config": whole["config"] | other}))
        assert why in error()
    path.write_text(json.dumps(whole))
    weights = load_file(head)
    save_file({key: torch.cat([x, x]) for key, x in weights.items()}, head)
    assert "model/head.safetensors is not the file that the run wrote" in error()
    path.write_text(json.dumps(whole | {"exported": {}}))  # as in records of before
    assert "model/head.safetensors is not there, is damaged, or is of another model" in error()
    head.write_text("damaged")
    assert "is damaged, or is of another model (SafetensorError" in error()
    head.unlink()
    assert "model/head.safetensors is not there" in error()
