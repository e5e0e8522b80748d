"""What may be compared, and one line for everything that may not."""

import json
import re
from dataclasses import replace

import pytest
from planted import write_run

from loradrift.analysis.drift.pairing import find_pairs
from loradrift.config import UserError
from loradrift.runs import Status, read_record, write_record


def both(runs, seed, **options):
    for method in ("full_finetune", "lora"):
        write_run(runs, method, seed, size=0.2, **options)


def test_methods_are_paired_by_task_and_seed(tmp_path):
    both(tmp_path, 1)
    both(tmp_path, 2)
    both(tmp_path, 1, task="rte")
    pairing = find_pairs(tmp_path, None)
    assert [(pair.task, pair.seed) for pair in pairing.pairs] == [
        ("rte", 1), ("sst2", 1), ("sst2", 2),
    ]  # fmt: skip
    assert all(pair.full_finetune.method == "full_finetune" for pair in pairing.pairs)
    assert pairing.problems == []


def test_no_runs_says_how_to_make_some(tmp_path):
    with pytest.raises(UserError, match=r"holds no run: `python train.py study=drift -m` makes"):
        find_pairs(tmp_path, None)


def test_two_studies_must_be_chosen_from(tmp_path):
    both(tmp_path, 1)
    both(tmp_path, 1, study="other")
    with pytest.raises(UserError, match="analysis.study must be one of drift, other, got null"):
        find_pairs(tmp_path, None)
    with pytest.raises(UserError, match="analysis.study must be one of drift, other, got x"):
        find_pairs(tmp_path, "x")
    assert len(find_pairs(tmp_path, "other").pairs) == 1


def test_a_seed_of_another_experiment_is_not_averaged_with_the_others(tmp_path):
    for seed in (1, 2):
        both(tmp_path, seed)
    both(tmp_path, 3, fingerprints={"probe": "x"})
    both(tmp_path, 4, variant="task.max_steps=9")
    both(tmp_path, 5, fingerprints={"train_rows": "x"})
    both(tmp_path, 1, task="rte", variant="task.max_steps=9")
    pairing = find_pairs(tmp_path, None)
    assert [(pair.task, pair.seed) for pair in pairing.pairs] == [
        ("rte", 1), ("sst2", 1), ("sst2", 2), ("sst2", 5),
    ]  # fmt: skip
    assert pairing.problems == [
        f"sst2 seed={seed}: {what} differ from the other seeds': not averaged with them; "
        "give it a study of its own (study.name=…)"
        for seed, what in ((3, "probe"), (4, "settings"))
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": Status.RUNNING}, r"seed=9: still going; it is analysed when it has finished"),
        ({"status": Status.FAILED}, r"seed=9: failed \(None\); its own command repeats it"),
        ({"fingerprints": {"probe": "x"}}, r"sst2 seed=9: probe differ between the methods"),
        ({"fingerprints": {"tokenization": "x"}}, r"tokenization differ between the methods"),
        ({"certificate": None}, r"seed=9: no certificate that its adapter was applied .*; move it"),
        (
            {"certificate": {"passed": False, "checks": [{"name": "effect", "passed": False}]}},
            r"seed=9: its adapter's certificate does not hold \(effect\); move it away",
        ),
        ({"certificate": {"passed": None}}, r"does not hold \(not judged\)"),
        ({"steps": (0,), "scores": ()}, r"no activations of step 0 and a later one"),
    ],
)
def test_what_cannot_be_compared_is_named_and_the_rest_is(tmp_path, change, problem):
    both(tmp_path, 1)
    write_run(tmp_path, "full_finetune", 9, size=0.2)
    scores = change.pop("scores", (0.6, 0.8))
    if not scores:
        write_run(tmp_path, "lora", 9, size=0.2, steps=(0, 50, 100))
        path = next(tmp_path.glob("drift/sst2/lora/seed=9/activations/manifest.json"))
        manifest = json.loads(path.read_text())
        manifest["steps"] = {"0": manifest["steps"]["0"]}
        path.write_text(json.dumps(manifest))
    else:
        write_run(tmp_path, "lora", 9, size=0.2, **change)
    pairing = find_pairs(tmp_path, None)
    assert [pair.seed for pair in pairing.pairs] == [1]
    assert re.search(problem, "\n".join(pairing.problems))


def test_one_method_only(tmp_path):
    write_run(tmp_path, "lora", 1, size=0.2)
    pairing = find_pairs(tmp_path, None)
    assert pairing.pairs == []
    [problem] = pairing.problems
    command = "python train.py task=sst2 method=full_finetune seed=1 study.name=drift"
    assert problem == (
        "sst2 seed=1: there is no finished full_finetune run to compare with: "
        f"`{command} runs={tmp_path}` makes it"
    )


def test_the_command_for_a_missing_partner_has_the_studys_overrides_and_not_the_methods(tmp_path):
    variant = "method.rank=4,model.path=base-3M~0a1b2c3d,task.max_steps=9"
    folder = write_run(tmp_path, "lora", 1, size=0.2, variant=variant)
    record = read_record(folder)
    write_record(folder, replace(record, config=record.config | {"model": {"path": "a b/base-3M"}}))
    [problem] = find_pairs(tmp_path, None).problems
    assert "study.name=drift 'model.path=a b/base-3M' task.max_steps=9 runs=" in problem
    assert "method.rank" not in problem


@pytest.mark.parametrize("file", ["run.json", "activations/manifest.json"])
@pytest.mark.parametrize("text", ["{half", '{"schema_version": 99}'])
def test_a_damaged_or_newer_file_is_named(tmp_path, file, text):
    both(tmp_path, 1)
    both(tmp_path, 2)
    path = tmp_path / "drift/sst2/lora/seed=2" / file
    path.write_text(text)
    pairing = find_pairs(tmp_path, None)
    assert [pair.seed for pair in pairing.pairs] == [1]
    assert str(path) in pairing.problems[0]
    if "99" in text:
        assert re.search("update loradrift, or move the run away and", pairing.problems[0])


def test_a_method_with_two_settings_needs_two_studies(tmp_path):
    both(tmp_path, 1)
    write_run(tmp_path, "lora", 1, size=0.2, variant="method.rank=4")
    with pytest.raises(UserError, match=r"lora was run as \(none\) and method.rank=4; give them"):
        find_pairs(tmp_path, None)


def test_other_methods_and_baselines_are_no_part_of_it(tmp_path):
    both(tmp_path, 1)
    write_run(tmp_path, "majority", 1, size=0.0)
    pairing = find_pairs(tmp_path, None)
    assert len(pairing.pairs) == 1 and pairing.problems == []
