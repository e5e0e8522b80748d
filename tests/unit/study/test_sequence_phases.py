"""study=sequence from its first phase to its last, with work that takes a moment."""

import json
import re
import shutil
from pathlib import Path

import pytest
from disturbances import begun, instead, kill_at, records
from front_doors import error_of, output_of, run_here
from searching import contents

pytestmark = pytest.mark.end_to_end

APP = Path(__file__).with_name("quick_sequence.py")
STUDY = (
    "study=sequence", "-m", "hydra/launcher=basic", "seed=1,2", "task=rte,mrpc,sst2",
    "method=full_finetune,lora", "task.max_steps=10", "trainer.validate_every=100",
)  # fmt: skip
KEPT = ",task.max_steps=10,trainer.validate_every=100/seed"


@pytest.fixture(scope="module")
def typed(cache):
    return (*STUDY, f"cache={cache}")


@pytest.fixture(scope="module")
def whole(typed, tmp_path_factory):
    """A finished study, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, output_of(run_here(APP, *typed, cwd=folder))


def test_the_steps_run_in_order_each_after_the_one_before(whole):
    folder, out = whole
    wanted = ["base", "chain 1", "chain 2", "chain 3", "report"]
    assert re.findall(r"^phase (base|chain \d|report)", out, re.M) == wanted
    assert "study sequence: 12 cells, 0 finished already" in out
    assert set(begun(folder).values()) == {1}
    order = [name.split("/")[1] for name in begun(folder) if "/" in name]
    assert order == [task for task in ("rte", "mrpc", "sst2") for _ in range(4)]
    places = {str(Path(name).parent) for name in records(folder)}
    assert places == {
        f"runs/sequence/{task}/{method}{after}{KEPT}={seed}"
        for task, after in (("rte", ""), ("mrpc", ",after=rte"), ("sst2", ",after=rte+mrpc"))
        for method in ("full_finetune", "lora")
        for seed in (1, 2)
    }
    for name in records(folder):  # the chain of each run is of its own method and seed
        record = json.loads((folder / name).read_text())
        place, chain = record["coordinates"], record["start"].get("chain", [])
        assert "study=sequence" in record["overrides"]  # which tells its runs from others
        assert {(each["method"], each["seed"]) for each in chain} <= {
            (place["method"], place["seed"])
        }
    told = json.loads((folder / "results/sequence/sequence.json").read_text())
    assert told == {"baseline": "full_finetune", "order": ["rte", "mrpc", "sst2"]}


def test_what_is_done_is_skipped_and_a_longer_chain_goes_on(whole, typed):
    folder, _ = whole
    before = begun(folder)
    shorter = instead(typed, "task=rte,mrpc")
    out = output_of(run_here(APP, *shorter, "study.phases=[base,chain]", cwd=folder))
    assert begun(folder) == before and "phase chain 2: 4 cells, 4 finished already" in out
    listing = output_of(run_here(APP, *typed, "study.dry_run=true", cwd=folder))
    assert re.search(r"chain 3\W+sst2\W+full_finetune\W+2\W+2\W+0 s", listing)


def test_a_listing_knows_every_step_before_anything_is_made(typed, tmp_path):
    out = output_of(run_here(APP, *typed, "study.dry_run=true", cwd=tmp_path))
    assert contents(tmp_path) == contents(tmp_path / "none")
    assert re.search(r"chain 3\W+sst2\W+full_finetune\W+2\W+0\W+unknown", out)
    merged = re.search(r"([\d.]+) MiB of merged models in the cache\), and", out)
    weights = re.search(r"([\d.]+) MiB of weights", out)
    # four runs leave a model of 4 bytes a weight to start from; 12 runs leave what they learned
    assert 0 < float(merged[1]) < float(weights[1])


def test_a_study_that_is_killed_goes_on(whole, typed, tmp_path):
    kill_at(APP, typed, tmp_path, "mrpc/lora")
    assert not any("sst2" in name for name in begun(tmp_path))
    output_of(run_here(APP, *typed, cwd=tmp_path))
    assert records(tmp_path) == records(whole[0])
    again = {name for name, count in begun(tmp_path).items() if count > 1}
    assert len(again - {"base"}) == 1 and all("mrpc/lora" in name for name in again - {"base"})


def test_a_step_that_diverges_ends_its_chain_alone(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/diverge").write_text("mrpc/lora")
    out = output_of(run_here(APP, *instead(typed, "seed=1"), cwd=tmp_path))
    assert "phase chain 3: 1 chains have ended, their last step diverged" in out
    steps = [name for name in begun(tmp_path) if "/" in name]
    assert len(steps) == 5 and not any("sst2/lora" in name for name in steps)
    assert (tmp_path / "results/sequence/report.html").is_file()
    before = begun(tmp_path)
    out = output_of(
        run_here(APP, *instead(typed, "seed=1"), "study.phases=[base,chain]", cwd=tmp_path)
    )
    assert begun(tmp_path) == before
    assert "phase chain 2: 2 cells, 2 finished already" in out
    assert "phase chain 3: 1 cells, 1 finished already" in out


def test_a_finished_study_can_be_looked_at_when_its_models_are_gone(whole, typed, tmp_path):
    shutil.copytree(whole[0] / "runs", tmp_path / "runs")
    for folder in tmp_path.glob("runs/sequence/*/*/seed=*/model"):
        shutil.rmtree(folder)
    before = begun(tmp_path)
    out = output_of(run_here(APP, *typed, "study.phases=[base,chain]", cwd=tmp_path))
    assert "phase chain 3: 4 cells, 4 finished already" in out and begun(tmp_path) == before
    more = instead(typed, "task=rte,mrpc,sst2,squad_v2")
    listing = output_of(run_here(APP, *more, "study.dry_run=true", cwd=tmp_path))
    assert re.search(r"chain 4\W+squad_v2\W+full_finetune\W+2\W+0", listing)
    error = error_of(run_here(APP, *more, cwd=tmp_path))
    assert "has left no model: its folder model/ holds none" in error


def test_a_failure_ends_the_study_after_its_step(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("mrpc/lora")
    done = run_here(APP, *typed, cwd=tmp_path)
    assert done.returncode == 1 and not any("sst2" in name for name in begun(tmp_path))
    assert "phase chain 2: 2 of 4 cells failed; the phases after it need them" in done.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=rte,mrpc,rte", "task must be different, got rte, mrpc, rte"),
        ("study.tasks=[]", r"study.tasks must be a chain of at least one task, got \[\]"),
        ("task=rte,sst", "task must be some of sst2, mrpc, rte, squad_v2, got sst"),
        ("task=rte,persona", "task must be some of .*squad_v2, got persona"),
        ("study.methods=[]", "study.methods"),
        ("study.methods=[dora,lora]", "method=full_finetune,lora and study.methods say the same"),
        ("method=lora,majority", "method must be some of .*, got majority"),
        ("best=true", "sets best itself, for each of its cells: type scale.full_finetune_lr="),
        ("study.trials=3", "study.trials=3 has no effect on study=sequence"),
        ("model.weights=random", "not stored, so no second step of study=sequence could start"),
    ],
)
def test_what_no_study_could_do_is_refused_before_it_starts(typed, tmp_path, override, message):
    error = error_of(run_here(APP, *instead(typed, override), cwd=tmp_path))
    assert re.search(message, error), error
    assert not (tmp_path / "runs/sequence").exists()


@pytest.mark.parametrize("study", ["sequence", "frontier", "drift"])
def test_a_study_begins_with_a_base_model(whole, typed, tmp_path, study):
    run = next(whole[0].glob("runs/sequence/rte/full_finetune*/seed=1"))
    other = [f"study={study}", "-m", "task=mrpc,sst2", typed[-1]]  # the cache
    model = ["model=local", f"model.path='{run}'"]
    error = error_of(run_here(APP, *other, *model, cwd=tmp_path))
    assert f"is a run, and study={study} begins with a base model: leave" in error
    for dry in ([], ["study.dry_run=true"]):
        missing = ["model=local", f"model.path='{tmp_path / 'nothing'}'", *dry]
        error = error_of(run_here(APP, *other, *missing, cwd=tmp_path))
        assert re.search(r"model.path=\S+nothing is no model: it has no config.json", error), error
    assert not list(tmp_path.glob("runs/*"))
