"""What may be compared, and one line for everything that may not."""

import json
import re
import shutil

import pytest
from planted import write_pair, write_run

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.config import UserError
from loradrift.runs import Cell, Status, read_record

FAILED = {"passed": False, "checks": [{"name": "effect", "passed": False}]}


def places(pairing):
    return [(pair.task, pair.seed) for pair in pairing.pairs]


def test_methods_are_paired_by_task_and_seed_and_other_arms_are_named(tmp_path):
    for task, seed in (("sst2", 1), ("sst2", 2), ("rte", 1)):
        write_pair(tmp_path, seed, task=task)
    write_run(tmp_path, "dora", 1, size=0.2)
    write_run(tmp_path, "lora", 1, size=0.2, variant="method.rank=4")
    shutil.rmtree(write_run(tmp_path, "majority", 1, size=0.0) / "activations")  # a baseline
    pairing = find_pairs(tmp_path, None)
    assert places(pairing) == [("rte", 1), ("sst2", 1), ("sst2", 2)]
    assert all(pair.control.method == "full_finetune" for pair in pairing.pairs)
    assert pairing.problems == [] and pairing.others == ["dora", "lora,method.rank=4"]


def test_the_study_must_be_chosen_from_those_with_results(tmp_path):
    with pytest.raises(UserError, match=r"holds no run: `python train.py study=drift -m` makes"):
        find_pairs(tmp_path, None)
    write_pair(tmp_path, 1)
    write_pair(tmp_path, 2, phase="sanity")  # beside the results
    write_pair(tmp_path, 1, phase="search", study="whatever")
    pairing = find_pairs(tmp_path, None)  # checks and trials are told by their records
    assert places(pairing) == [("sst2", 1)] and pairing.problems == []
    write_pair(tmp_path, 1, study="re.search")  # whose name is only a name
    for study, got in ((None, "null"), ("x", "x"), ("whatever", "whatever")):
        with pytest.raises(UserError, match=f"study must be one of drift, re.search, got {got}"):
            find_pairs(tmp_path, study)
    folder = tmp_path / "drift"
    typed = f"type analysis.runs={tmp_path} analysis.study=drift"
    with pytest.raises(UserError, match=re.escape(f"{folder} is the folder of one study: {typed}")):
        find_pairs(folder, None)
    assert len(find_pairs(tmp_path, "re.search").pairs) == 1


def test_a_seed_of_another_experiment_is_not_averaged_with_the_others(tmp_path):
    for seed in (1, 2):
        write_pair(tmp_path, seed)
    write_pair(tmp_path, 3, fingerprints={"probe": "x"})
    write_pair(tmp_path, 4, variant="task.max_steps=9")
    write_pair(tmp_path, 5, fingerprints={"train_rows": "x"})
    write_pair(tmp_path, 1, task="rte", variant="task.max_steps=9")
    write_pair(tmp_path, 1, task="mrpc")  # what an arm's name spells, though others are more
    for seed in (2, 3):
        write_run(tmp_path, "full_finetune", seed, size=0.2, task="mrpc")
        write_run(tmp_path, "lora", seed, size=0.2, task="mrpc", variant="method.rank=64")
    pairing = find_pairs(tmp_path, None)
    kept = [("mrpc", 1), ("rte", 1), ("sst2", 1), ("sst2", 2), ("sst2", 5)]
    assert places(pairing) == kept
    left = ["mrpc seed=2: settings", "mrpc seed=3: settings"]
    assert pairing.problems == [
        f"{what} differ from the other seeds': not averaged with them; give it a study of its own "
        "(study.name=…)"
        for what in [*left, "sst2 seed=3: probe", "sst2 seed=4: settings"]
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": Status.RUNNING}, r"seed=9: still going; it is analysed when it has finished"),
        ({"status": Status.FAILED}, r"seed=9: failed \(None\); its own command repeats it"),
        ({"status": Status.COLLAPSED}, r"seed=9: collapsed \(None\); ended there, it has no eval"),
        ({"fingerprints": {"probe": "x"}}, r"sst2 seed=9: probe differ between the methods"),
        ({"fingerprints": {"tokenization": "x"}}, r"tokenization differ between the methods"),
        ({"certificate": None}, r"seed=9: no certificate that its adapter was applied .*; move it"),
        ({"certificate": FAILED}, r"=9: its adapter's certificate does not hold \(effect\); move"),
        ({"certificate": {"passed": None}}, r"does not hold \(not judged\)"),
        ({}, r"no activations of step 0 and a later one"),
    ],
)
def test_what_cannot_be_compared_is_named_and_the_rest_is(tmp_path, change, problem):
    write_pair(tmp_path, 1)
    write_run(tmp_path, "full_finetune", 9, size=0.2)
    folder = write_run(tmp_path, "lora", 9, size=0.2, **change)
    if not change:
        path = folder / "activations/manifest.json"
        manifest = json.loads(path.read_text())
        manifest["steps"] = {"0": manifest["steps"]["0"]}
        path.write_text(json.dumps(manifest))
    pairing = find_pairs(tmp_path, None)
    assert places(pairing) == [("sst2", 1)]
    assert re.search(problem, "\n".join(pairing.problems))


def test_a_seed_of_one_arm_only(tmp_path):
    write_run(tmp_path, "lora", 1, size=0.2)
    write_run(tmp_path, "full_finetune", 2, size=0.2)
    pairing = find_pairs(tmp_path, None)
    assert pairing.pairs == []
    message = "sst2 seed=1: there is no finished full_finetune run to compare with: "
    command = "python train.py task=sst2 method=full_finetune seed=1 study.name=drift"
    assert pairing.problems[0] == f"{message}`{command} runs={tmp_path}` makes it"


@pytest.mark.parametrize("schema", [1, 2])
def test_the_partners_command_has_the_studys_overrides_and_not_the_methods(tmp_path, schema):
    variant = "method.rank=4,model.path=base-3M~0a1b2c3d,task.max_steps=9"
    folder = write_run(tmp_path, "lora", 1, size=0.2, variant=variant)
    record = json.loads((folder / "run.json").read_text())
    record["overrides"] = ["method.rank=4", "model.path=a b/base-3M", "task.max_steps=9"]
    if schema == 1:  # it is told by the variant, and by the configuration
        del record["overrides"], record["phase"], record["kind"]
        record["schema_version"] = 1
        record["config"]["model"] = {"path": "a b/base-3M"}
    (folder / "run.json").write_text(json.dumps(record))
    write_run(tmp_path, "full_finetune", 2, size=0.2, variant=variant)
    problem, _ = find_pairs(tmp_path, None).problems
    assert "study.name=drift 'model.path=a b/base-3M' task.max_steps=9 runs=" in problem
    assert "method.rank" not in problem


def test_what_is_no_run_of_a_training_is_left_out(tmp_path):
    for seed in (1, 2, 3, 4):
        write_pair(tmp_path, seed)
    place = {"study": "drift", "task": "sst2", "method": "lora", "variant": "", "seed": "x"}
    changes = {1: {"config": {}}, 2: {"coordinates": place}, 3: {"kind": "serving"}}
    for seed, change in changes.items():
        path = tmp_path / f"drift/sst2/lora/seed={seed}/run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    pairing = find_pairs(tmp_path, None)
    assert [pair.seed for pair in pairing.pairs] == [4]
    damaged = sorted(line for line in pairing.problems if "is damaged" in line)
    assert "config.task.metric is absent or of another type" in damaged[0]
    assert "coordinates.seed is absent or of another type" in damaged[1]


def test_an_arm_whose_only_record_is_newer_is_told_so(tmp_path):
    write_run(tmp_path, "full_finetune", 1, size=0.2)
    path = write_run(tmp_path, "lora", 1, size=0.2) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 6}))
    message = r"got lora: nothing to compare \(.*run.json has schema_version 6, and this program"
    with pytest.raises(UserError, match=message):
        find_pairs(tmp_path, None)
    (tmp_path / "drift/sst2/full_finetune/seed=1/run.json").write_text(path.read_text())
    with pytest.raises(UserError, match=r"has runs of \(none\), got full_finetune: .*version 6"):
        find_pairs(tmp_path, None)


def test_arms_that_name_the_same_runs_are_refused(tmp_path):
    arms = Arms.of("lora", "lora,task.max_steps=20")
    for seed in (1, 2):
        write_run(tmp_path, "lora", seed, size=0.2, variant="task.max_steps=20")
    for each in (arms, Arms.of(*reversed(arms.names))):
        with pytest.raises(UserError, match="name the same runs in .*: nothing to compare"):
            find_pairs(tmp_path, None, each)
    write_run(tmp_path, "lora", 3, size=0.2, variant="task.max_steps=10")
    problems = find_pairs(tmp_path, None, arms).problems
    assert len(problems) == 3
    assert all("is a run of both arms, and there is no other" in line for line in problems[:2])
    assert "there is no finished lora,task.max_steps=20 run" in problems[2]


def test_a_baseline_is_no_arm(tmp_path):
    write_pair(tmp_path, 1)
    folder = write_run(tmp_path, "majority", 1, size=0.2)
    (folder / "activations/manifest.json").unlink()
    with pytest.raises(UserError, match=r"control=majority: its runs in .* have no activations"):
        find_pairs(tmp_path, None, Arms.of("majority", "lora"))
    with pytest.raises(UserError, match=r"has runs of .full_finetune, lora., got pissa"):
        find_pairs(tmp_path, None, Arms.of("pissa", "lora"))


@pytest.mark.parametrize("file", ["run.json", "activations/manifest.json"])
@pytest.mark.parametrize("text", ["{half", '{"schema_version": 99}'])
def test_a_damaged_or_newer_file_is_named(tmp_path, file, text):
    for seed in (1, 2):
        write_pair(tmp_path, seed)
    path = tmp_path / "drift/sst2/lora/seed=2" / file
    path.write_text(text)
    pairing = find_pairs(tmp_path, None)
    assert places(pairing) == [("sst2", 1)]
    assert str(path) in pairing.problems[0]
    if "99" in text:
        assert "update loradrift, or move the run away and" in pairing.problems[0]


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
            record, typed = read_record(folder), [f"method.rank={rank}", "task=sst2"]
            config = record.config | {"method": {"rank": rank}}
            Cell(folder, record).save(config=config, overrides=typed)
    pairing = find_pairs(tmp_path, None, Arms.of(control, treatment))
    assert places(pairing) == [("sst2", 1), ("sst2", 2)] and pairing.problems == []
    for pair in pairing.pairs:
        assert tuple(run.folder.parent.name for run in pair) == variants
        assert [run.method for run in pair] == [control, treatment]
    short = SHORT.partition(",")[0]
    there = {"full_finetune", "lora", "dora", "lora,method.rank=64"}
    there |= {f"rslora,{short},method.rank={rank}" for rank in (4, 16)}
    spelt_otherwise = {"lora" if "8" in control else "", f"rslora,{short},{treatment[7:]}"}
    assert set(pairing.others) == there - {control, treatment} - spelt_otherwise


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (("full_finetune", "pissa"), r"treatment must name an arm that RUNS/drift has runs of \("
         r"dora,method.rank=4, dora,method.rank=64, full_finetune, lora, lora,method.rank=4\), "
         "got pissa: nothing to compare$"),
        (("lora,method.rank=64", "lora"),
         "control must name an arm .*, got lora,method.rank=64: nothing to compare$"),
        (("full_finetune", "dora"), "treatment=dora fits dora,method.rank=4 and dora,method.rank=64"
         "; name the one that is meant, or give them studies of their own"),
    ],
)  # fmt: skip
def test_an_arm_without_runs_or_with_two_settings_is_refused(tmp_path, arms, message):
    write_pair(tmp_path, 1)
    for method, rank in (("dora", 4), ("dora", 64), ("lora", 4)):
        write_run(tmp_path, method, 1, size=0.2, variant=f"method.rank={rank}")
    where = r"^(sst2 seed=1: )?analysis\."
    with pytest.raises(UserError, match=where + message.replace("RUNS", str(tmp_path))):
        find_pairs(tmp_path, None, Arms.of(*arms))
