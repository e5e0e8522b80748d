"""What may be compared, and one line for everything that may not."""

import json
import re
import shutil

import pytest
from planted import write_run

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.config import UserError
from loradrift.runs import Cell, Status, read_record


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
    assert all(pair.control.method == "full_finetune" for pair in pairing.pairs)
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


def test_checks_and_trials_are_told_by_their_records_and_are_no_results(tmp_path):
    both(tmp_path, 1)
    both(tmp_path, 2, phase="sanity")  # beside the results
    both(tmp_path, 1, phase="search", study="whatever")
    pairing = find_pairs(tmp_path, None)
    assert [pair.seed for pair in pairing.pairs] == [1]
    assert pairing.problems == []
    both(tmp_path, 1, study="re.search")  # whose name is only a name
    with pytest.raises(UserError, match="must be one of drift, re.search, got null"):
        find_pairs(tmp_path, None)


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


def test_a_seed_of_one_arm_only(tmp_path):
    write_run(tmp_path, "lora", 1, size=0.2)
    write_run(tmp_path, "full_finetune", 2, size=0.2)
    pairing = find_pairs(tmp_path, None)
    assert pairing.pairs == []
    problem, _ = pairing.problems
    command = "python train.py task=sst2 method=full_finetune seed=1 study.name=drift"
    assert problem == (
        "sst2 seed=1: there is no finished full_finetune run to compare with: "
        f"`{command} runs={tmp_path}` makes it"
    )


@pytest.mark.parametrize("schema", [1, 2])
def test_the_command_for_a_missing_partner_has_the_studys_overrides_and_not_the_methods(
    tmp_path, schema
):
    variant = "method.rank=4,model.path=base-3M~0a1b2c3d,task.max_steps=9"
    folder = write_run(tmp_path, "lora", 1, size=0.2, variant=variant)
    record = json.loads((folder / "run.json").read_text())
    record["overrides"] = ["method.rank=4", "model.path=a b/base-3M", "task.max_steps=9"]
    if schema == 1:  # it is told by the variant, and by the configuration
        del record["overrides"], record["phase"], record["kind"]
        record |= {"schema_version": 1, "config": {"model": {"path": "a b/base-3M"}}}
    (folder / "run.json").write_text(json.dumps(record))
    write_run(tmp_path, "full_finetune", 2, size=0.2, variant=variant)
    problem, _ = find_pairs(tmp_path, None).problems
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


def test_a_name_that_fits_two_settings_must_be_spelt_out(tmp_path):
    both(tmp_path, 1, variant="task.max_steps=9")
    for rank in (4, 64):
        write_run(tmp_path, "lora", 1, size=0.2, variant=f"method.rank={rank}")
    with pytest.raises(
        UserError,
        match=r"sst2 seed=1: analysis.treatment=dora fits dora,method.rank=4 and "
        r"dora,method.rank=64; name the one that is meant, or give them studies of their own",
    ):
        for rank in (4, 64):
            write_run(tmp_path, "dora", 1, size=0.2, variant=f"method.rank={rank}")
        find_pairs(tmp_path, None, Arms.of("full_finetune", "dora"))


def test_other_methods_and_variants_are_named_and_baselines_are_not(tmp_path):
    both(tmp_path, 1)
    write_run(tmp_path, "dora", 1, size=0.2)
    write_run(tmp_path, "lora", 1, size=0.2, variant="method.rank=4")
    baseline = write_run(tmp_path, "majority", 1, size=0.0)
    shutil.rmtree(baseline / "activations")
    pairing = find_pairs(tmp_path, None)
    assert len(pairing.pairs) == 1 and pairing.problems == []
    assert pairing.others == ["dora", "lora,method.rank=4"]


SHORT = "callbacks.activation_dump.every_n_steps=8,task.max_st~"


@pytest.mark.parametrize(
    ("control", "treatment", "variants"),
    [
        ("lora", "dora", ("lora", "dora")),
        ("dora", "full_finetune", ("dora", "full_finetune")),
        ("lora", "lora,method.rank=64", ("lora", "lora,method.rank=64")),
        ("lora,method.rank=64", "lora", ("lora,method.rank=64", "lora")),
        # A long variant is cut short in the folder's name: the configuration has it whole.
        ("lora,method.rank=8", "rslora,method.rank=16", ("lora", f"rslora,{SHORT}16")),
    ],
)
def test_any_two_arms(tmp_path, control, treatment, variants):
    for seed in (1, 2):
        for method in ("full_finetune", "lora", "dora"):
            write_run(tmp_path, method, seed, size=0.2)
        write_run(tmp_path, "lora", seed, size=0.2, variant="method.rank=64")
        for rank in (4, 16):
            folder = write_run(tmp_path, "rslora", seed, size=0.2, variant=f"{SHORT}{rank}")
            record = read_record(folder)
            config = record.config | {"method": {"rank": rank}}
            typed = [f"method.rank={rank}", "task=sst2"]
            Cell(folder, record).save(config=config, overrides=typed)
    pairing = find_pairs(tmp_path, None, Arms.of(control, treatment))
    assert [pair.seed for pair in pairing.pairs] == [1, 2] and pairing.problems == []
    for pair in pairing.pairs:
        assert tuple(run.folder.parent.name for run in pair) == variants
        assert [run.method for run in pair] == [control, treatment]
    short = SHORT.partition(",")[0]
    there = {"full_finetune", "lora", "dora", "lora,method.rank=64"}
    there |= {f"rslora,{short},method.rank={rank}" for rank in (4, 16)}
    named = {
        control,
        treatment,
        "lora" if "8" in control else "",
        f"rslora,{short},{treatment[7:]}",
    }
    assert set(pairing.others) == there - named


def test_a_variant_is_not_averaged_with_the_arm_that_a_name_spells(tmp_path):
    both(tmp_path, 1)
    for seed in (2, 3):
        write_run(tmp_path, "full_finetune", seed, size=0.2)
        write_run(tmp_path, "lora", seed, size=0.2, variant="method.rank=64")
    pairing = find_pairs(tmp_path, None)
    assert [pair.seed for pair in pairing.pairs] == [1]
    assert ["settings differ" in problem for problem in pairing.problems] == [True, True]


@pytest.mark.parametrize("arms", [("full_finetune", "dora"), ("lora,method.rank=64", "lora")])
def test_an_arm_without_runs_says_which_there_are(tmp_path, arms):
    both(tmp_path, 1)
    write_run(tmp_path, "lora", 1, size=0.2, variant="method.rank=4")
    absent = next(name for name in arms if name not in ("full_finetune", "lora"))
    with pytest.raises(
        UserError,
        match=rf"^analysis.\w+ must name an arm that {tmp_path}/drift has runs of "
        rf"\(full_finetune, lora, lora,method.rank=4\), got {absent}: nothing to compare$",
    ):
        find_pairs(tmp_path, None, Arms.of(*arms))
