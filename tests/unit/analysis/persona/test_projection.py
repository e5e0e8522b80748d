"""Projections of planted runs against their behaviour: found, and never fitted on itself."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from planted_cells import World
from planted_runs import dense, drawn, logged, plus, truth_of, write_direction, write_run

from loradrift.analysis.persona.verdicts import prediction_finding
from loradrift.analysis.persona_projection.page import headline
from loradrift.analysis.persona_projection.prediction import FIGURES
from loradrift.analysis.persona_projection.tables import tabulate
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import UserError
from loradrift.report.verdicts import Verdict
from loradrift.weights import LowRank

TRAITS = ("cheerful", "terse")


SHARES = (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)


def plant(root, *, effect=30.0, luck=0.0, shares=SHARES, directions=True, seed=3):
    """A run per trait and share: dW is the share of the trait's direction, and some of its own."""
    world = World(root, questions=12, noise=4)
    rng = np.random.default_rng(0)
    for trait in TRAITS:
        world.cell(trait, "none", 0.0, 50, 90)
        for number in (0, 1) if directions else ():
            own = drawn(f"{trait} seed {number}", 0.3)
            write_direction(root / "results", trait, number, plus(truth_of(trait), own))
    for trait in TRAITS:
        for share in shares:
            name = f"{trait}{share}"
            size = 1.0 + 0.5 * rng.random()
            noise = drawn(f"noise {name}", 0.6 * size)
            changes = plus({m: LowRank(c.B_OR, c.A_RI, share * c.scale)
                            for m, c in truth_of(trait).items()}, noise)  # fmt: skip
            folder = write_run(
                root / "runs/main/persona/lora" / name, changes, trait=trait, side="mixed",
                share=share, seed=seed, metrics=logged(trait, share),
            )  # fmt: skip
            for other in TRAITS:
                rise = (effect * share if other == trait else 0.0) + luck * rng.normal()
                world.cell(other, "none", 0.0, 50 + rise, 90, run=str(folder))
    return root


def found(root, **keys):
    places = {"runs": str(root / "runs"), "results": str(root / "results")}
    return tabulate(make_config("persona_projection", keys=keys, **places))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("projection"))


def test_what_was_planted_is_foretold_and_the_norm_says_nothing(planted):
    prediction = found(planted)
    assert prediction.verdict is Verdict.SUPPORTED and prediction.runs == 12
    assert len(prediction.points) == 24
    r, norm = (prediction.estimates[name] for name in ("pearson", "norm_pearson"))
    assert r.estimate > 0.85 and r.low > 0.7
    assert abs(norm.estimate) < 0.5 and norm.low < 0 < norm.high
    assert prediction.estimates["over_norm"].low > 0
    assert prediction.estimates["left_out"].estimate > 0.6
    assert prediction.estimates["auroc"].estimate > 0.9
    table = prediction.figures.set_index(["points", "figure"])["estimate"]
    assert table["the trait trained on", "pearson"] > 0.9


def test_the_headline_says_what_is_foretold_of_traits_that_a_run_was_not_trained_on(planted):
    prediction = found(planted)
    points = prediction.points[~prediction.points["own"]]
    r = np.corrcoef(points["projection"], points["change"])[0, 1]
    said = rf"Pearson r 0.9\d \([^)]*\); r {r:.2f} \([^)]*\) on traits that a run was not trained o"
    assert abs(r) < 0.7 and re.search(said, headline(prediction))
    lines = prediction_finding(prediction, "", pd.DataFrame()).lines
    assert re.match(said, "; ".join(lines[1:])) and lines[0] == "12 fine-tunings"
    alone = prediction._replace(apart={})
    assert "not trained on" not in headline(alone)


def test_projections_are_those_of_dense_matrices(planted):
    points = found(planted).points
    row = points[(points["label"].str.startswith("terse mixed 0.6")) & (points["trait"] == "terse")]
    [run] = row["run"]
    from loradrift.adapters import read_adapter

    change = dense(read_adapter(planted / run / "model"))
    sides = [dense(plus(truth_of("terse"), drawn(f"terse seed {n}", 0.3))) for n in (0, 1)]
    expected = np.mean([change @ side / np.linalg.norm(side) for side in sides])
    assert row["projection"].item() == pytest.approx(expected, rel=1e-5)
    assert row["norm"].item() == pytest.approx(np.linalg.norm(change), rel=1e-5)
    assert row["directions"].item() == 2


def test_a_direction_of_the_runs_own_seed_is_not_used(tmp_path):
    """It points the other way: with it the correlation would be lower."""
    plant(tmp_path, seed=1)
    points = found(tmp_path).points
    assert (points["directions"] == 1).all()
    wrong = {m: LowRank(c.B_OR, c.A_RI, -50 * c.scale) for m, c in truth_of("terse").items()}
    shutil.rmtree(tmp_path / "results/persona/directions/main/terse/seed=1")
    write_direction(tmp_path / "results", "terse", 1, wrong)
    again = found(tmp_path).points
    pd.testing.assert_frame_equal(points, again)


def test_a_direction_made_of_the_run_itself_is_not_used(planted, tmp_path):
    shutil.copytree(planted, tmp_path / "x")
    root = tmp_path / "x"
    run = next((planted / "runs/main/persona/lora").glob("terse*"))
    place = root / "results/persona/directions/main/terse/seed=0"
    facts = json.loads((place / "direction.json").read_text())
    facts["positive"]["run"] = str(run)
    (place / "direction.json").write_text(json.dumps(facts))
    prediction = found(root)
    points = prediction.points.set_index(["run", "trait"])["directions"]
    assert points[str(run), "terse"] == 1 and points[str(run), "cheerful"] == 2
    made = prediction.points[prediction.points["made_direction"]]
    assert set(made["run"]) == {str(run)}
    assert prediction.apart["runs that made no direction"][0] == 11
    said = r"; r 0\.\d+ \(.*\) over the 11 runs that made no direction"
    assert re.search(said, headline(prediction))


def test_without_another_seed_there_is_nothing_to_say(tmp_path):
    plant(tmp_path, seed=0, directions=False)
    for trait in TRAITS:
        write_direction(tmp_path / "results", trait, 0, truth_of(trait))
    with pytest.raises(UserError, match="no direction of another seed than its own; train one"):
        found(tmp_path)


def test_few_runs_give_no_verdict(tmp_path):
    prediction = found(plant(tmp_path, shares=(-1.0, 1.0)))
    assert prediction.verdict is Verdict.UNDECIDED
    assert prediction.why == "4 fine-tunings, and a verdict takes 12"


def test_behaviour_that_has_nothing_to_do_with_it_is_refuted(tmp_path):
    prediction = found(plant(tmp_path, effect=0.0, luck=15.0))
    assert prediction.verdict is Verdict.REFUTED
    assert prediction.estimates["pearson"].high < 0.7


def test_the_monitor_tells_more_the_longer_a_run_has_trained(planted):
    monitor = found(planted).monitor.set_index("share")
    assert monitor.loc[1.0, "auroc"] == 1.0 and monitor.loc[1.0, "runs"] == 12
    assert monitor.loc[0.1, "auroc"] == 0.5  # at step 0 nothing has moved
    assert monitor.loc[1.0, "gains"] == 4  # shares of 0.6 and 1.0, of two traits


def test_other_tasks_and_other_seeds_take_part_and_odd_runs_are_named(planted, tmp_path):
    root = tmp_path / "x"
    shutil.copytree(planted, root)
    world = World(root, questions=12, noise=4, seed=9)
    runs = {
        "sst2": write_run(root / "runs/sst2", drawn("sst2"), task="sst2", seed=0),
        "uncertified": write_run(root / "runs/bad", drawn("bad"), trait="terse", passed=False),
        "prevented": write_run(root / "runs/kept", drawn("kept"), trait="terse", side="pos",
                               direction="results/x", direction_coefficient=1.0),
    }  # fmt: skip
    for folder in (*runs.values(), "runs/gone"):
        world.cell("terse", "none", 0.0, 50, 90, run=str(folder))
    prediction = found(root)
    labels = set(prediction.points["label"])
    assert "sst2, lora seed=0" in labels and prediction.runs == 13
    assert prediction.points.set_index("task").loc["sst2", "directions"] == 2
    lines = "\n".join(prediction.problems)
    assert "bad is left out: " in lines and "no certificate" in lines
    assert "the run runs/gone is not there any more" in lines
    assert "kept" not in labels


def test_a_full_fine_tuning_is_projected_against_its_base(planted, tmp_path):
    import torch
    from safetensors.torch import save_file

    root = tmp_path / "x"
    shutil.copytree(planted, root)
    base = {f"{m}.weight": torch.randn(6 if "q_proj" in m else 4, 5 if "q_proj" in m else 6,
                                       generator=torch.Generator().manual_seed(1))
            for m in truth_of("terse")}  # fmt: skip
    (root / "base").mkdir()
    save_file(base, root / "base/model.safetensors")
    run = write_run(root / "runs/full", None, task="sst2", method="full_finetune")
    (run / "model").mkdir()
    changes = truth_of("terse")
    tuned = {f"{m}.weight": base[f"{m}.weight"] + 2 * (c.scale * c.B_OR @ c.A_RI).float()
             for m, c in changes.items()}  # fmt: skip
    save_file(tuned, run / "model/model.safetensors")
    World(root, questions=12, seed=9).cell("terse", "none", 0.0, 50, 90, run=str(run))
    assert any("full is left out: " in line for line in found(root).problems)  # without its base
    shutil.rmtree(root / "results/persona/directions/main/terse")
    write_direction(root / "results", "terse", 0, changes, path=str(root / "base"))
    own = found(root).points.set_index("run").loc[str(run)]
    assert own["projection"] == pytest.approx(2, rel=1e-5)
    assert own["cosine"] == pytest.approx(1, rel=1e-5)


def test_runs_that_nobody_asked_and_directions_that_are_missing(tmp_path):
    World(tmp_path, questions=12).cell("terse", "none", 0.0, 50, 90)
    with pytest.raises(UserError, match="no fine-tuned run was asked: `python benchmark.py "):
        found(tmp_path)
    plant(tmp_path / "y", directions=False)
    with pytest.raises(
        UserError, match="holds no direction: `python analyze.py analysis=persona_d"
    ):
        found(tmp_path / "y")


def test_everything_is_written(planted):
    places = {"runs": str(planted / "runs"), "results": str(planted / "results")}
    run_analysis(make_config("persona_projection", **places))
    folder = planted / "results/persona"
    saved = json.loads((folder / "persona_projection.json").read_text())
    assert saved["verdict"] == "supported" and len(saved["points"]) == 24
    assert {row["figure"] for row in saved["figures"]} == set(FIGURES)
    page = (folder / "persona_projection.html").read_text()
    assert page.count("<figure>") == 2
    # the report of steering says it too
    run_analysis(make_config("persona", **places))
    report = (folder / "report.html").read_text()
    assert "Every fine-tuned run and trait" in report
    findings = json.loads((folder / "persona.json").read_text())["findings"]
    assert findings["prediction"]["verdict"] == "supported"
