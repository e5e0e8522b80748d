"""``analysis=persona`` on planted cells: what is found, said to be missing, and refused."""

import json

import pandas as pd
import pytest
from planted_cells import TRUTH, World, config, found

from loradrift.analysis.persona.sections import headline
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import UserError
from loradrift.report.verdicts import Verdict


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("persona")
    World(root).arms()
    return root


@pytest.fixture(scope="module")
def results(world):
    run_analysis(config(world))
    return world / "results" / "persona"


def test_the_planted_dose_response_is_recovered(world):
    doses = found(world).tables["doses"]
    for row in doses[doses["trait"] == "terse"].to_dict("records"):
        score, coherence = (truth(row["dose"]) for truth in TRUTH[row["arm"]])
        # luck is shared: of 20 questions its mean is not 0
        assert row["gain"] == pytest.approx(score - 20, abs=6), row
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        assert row["coherence"] == pytest.approx(coherence, abs=4)


def test_arms_are_compared_at_their_best_coherent_dose(world):
    """k(c) = 75 at c = 0.707, where weights gain 49; the prompt's best is all instructions: 40."""
    gains = found(world).tables["gains"].set_index(["trait", "side", "arm"])
    weight, prompt = (gains.loc[("terse", "raise", arm)] for arm in ("weight", "prompt"))
    assert weight["best_dose"] == pytest.approx(0.72, abs=0.06)
    assert weight["gain_low"] < 49 < weight["gain_high"]
    assert weight["measured_dose"] in (0.5, 0.75)
    assert prompt["best_dose"] == 1 and prompt["gain_low"] < 40 < prompt["gain_high"]
    assert not prompt["edge"]  # there are no more instructions
    drawn = gains.loc[("terse", "raise", "random_weight")]
    assert drawn["gain_low"] <= 0 <= drawn["gain_high"]


def test_equal_arms_are_equivalent_and_the_prompt_stands_beside(world):
    finding = found(world).findings["equivalence"]
    assert finding.verdict is Verdict.SUPPORTED
    assert [line.split(":")[0] for line in finding.lines] == [
        "weights less activations", "weights less prompt", "activations less prompt",
    ]  # fmt: skip


def test_one_trait_far_apart_refutes_equivalence(tmp_path):
    world = World(tmp_path).arms()
    weak = {"activation": (lambda c: 20 + 25 * c, TRUTH["activation"][1])}
    world.arms(["verbose"], {**TRUTH, **weak})
    finding = found(tmp_path).findings["equivalence"]
    assert finding.verdict is Verdict.REFUTED and finding.why == "not in verbose"


def test_few_questions_leave_it_undecided(tmp_path):
    World(tmp_path, questions=4, noise=25).arms()
    assert found(tmp_path).findings["equivalence"].verdict is Verdict.UNDECIDED


def test_the_results_are_written(results):
    report = (results / "report.html").read_text()
    saved = json.loads((results / "persona.json").read_text())
    assert saved["findings"]["equivalence"]["verdict"] == "supported"
    assert saved["findings"]["efficiency"]["verdict"] == "no data"
    assert saved["answers"]["scored"] == saved["answers"]["answers"] == 34 * 20
    headings = [report.index(f'<h2 id="{name}') for name in (
        "equivalence", "prediction", "efficiency", "composition", "interpretability")]  # fmt: skip
    assert headings == sorted(headings)
    for name in ("doses", "gains", "differences", "samples"):
        assert len(pd.read_parquet(results / f"{name}.parquet"))
    assert report.count("<figure>") == 4  # no costs, no second trait judged


def test_three_answers_stand_for_every_arm_and_dose(results):
    samples = pd.read_parquet(results / "samples.parquet")
    counts = samples.groupby(["trait", "arm", "dose"]).size()
    assert (counts == 3).all() and len(counts) == 34
    asked = samples.groupby("trait")["question"].nunique()
    assert (asked == 3).all()  # the same ones everywhere
    assert "answer" in (results / "report.html").read_text()


@pytest.mark.parametrize("named", ["refusal", "unparsable"])
def test_answers_without_a_score_are_counted_and_widen_the_interval(tmp_path, named):
    truth = {arm: TRUTH[arm] for arm in ("none", "weight")}
    sides = []
    for name, statuses in (("known", {}), ("unknown", {3: named, 4: named})):
        World(tmp_path / name).arms(["terse"], truth, statuses=statuses)
        sides.append(found(tmp_path / name))
    known, unknown = (side.tables["doses"].set_index(["arm", "dose"]) for side in sides)
    assert (unknown[named] == 2).all() and (unknown["scored"] == 18).all()
    at = ("weight", 0.5)
    assert unknown.loc[at, "score_low"] < known.loc[at, "score_low"] - 3
    assert unknown.loc[at, "score_high"] > known.loc[at, "score_high"] + 3
    assert sides[1].tables["answers"][named].sum() == 2 * 5


def test_an_empty_answer_has_neither_trait_nor_coherence(tmp_path):
    world = World(tmp_path, noise=0, luck=0)
    world.cell("terse", "none", 0, 20, 90)
    world.cell("terse", "weight", 1, 80, 90, statuses={0: "empty", 1: "empty"})
    row = found(tmp_path).tables["doses"].set_index("arm").loc["weight"]
    own = row[row["dose"] == 1].iloc[0]
    assert own["score"] == pytest.approx(72) and own["coherence"] == pytest.approx(81)
    assert own["empty"] == 2


def test_one_question_has_no_interval(tmp_path):
    World(tmp_path, questions=1).arms(["terse"])
    finding = found(tmp_path).findings["equivalence"]
    assert finding.verdict is Verdict.UNDECIDED and "there is no interval: one unit" in finding.why


def test_variants_of_an_arm_have_curves_of_their_own(tmp_path):
    world = World(tmp_path).arms(["terse"])
    world.arms(["terse"], {"activation": TRUTH["activation"]}, positions="response")
    persona = found(tmp_path)
    texts = [curve.arm.text for curve in persona.curves if curve.arm.kind == "activation"]
    assert texts == ["activations (positions=all)", "activations (positions=response)"]
    assert persona.findings["equivalence"].verdict is Verdict.SUPPORTED


def test_the_variant_that_gains_most_stands_for_its_arm(tmp_path):
    """Here not the one with the default values, which would make the weights look better."""
    weak = {"activation": (lambda c: 20 + 10 * c, TRUTH["activation"][1])}
    world = World(tmp_path).arms(["terse", "shy"], {**TRUTH, **weak})
    world.arms(["terse", "shy"], {"activation": TRUTH["activation"]}, vector="prompt_last")
    persona = found(tmp_path)
    assert persona.main["activation"].text == "activations (vector=prompt_last)"
    assert persona.findings["equivalence"].verdict is Verdict.SUPPORTED
    assert "activations (vector=prompt_last)" in headline(persona)
    assert "activations (vector=response_avg)" not in headline(persona)
    pairs = persona.tables["differences"]
    assert {"vector=prompt_last", "vector=response_avg"} == set(pairs["against_variant"]) - {""}


def test_keys_are_checked():
    with pytest.raises(UserError, match="coherence must be in .0, 100., got 101"):
        make_config("persona", keys={"coherence": 101.0})
    with pytest.raises(UserError, match="margin must be in .0, 100., got 0"):
        make_config("persona", keys={"margin": 0.0})


def test_the_judges_agreement_and_its_limits_are_told(tmp_path):
    figure = {"estimate": 0.95, "low": 0.9, "high": 0.98}
    told = dict.fromkeys(("accuracy", "kappa", "auroc", "pearson"), figure)
    facts = {"agreement": {"held_out": "questions", "traits": {"terse": told, "shy": told},
                           "coherence": {"texts": 9, "accuracy": figure}},
             "limits": ["It reads the first 50 words alone."]}  # fmt: skip
    World(tmp_path).arms(["terse"], {"none": TRUTH["none"]}, judge_facts=facts)
    run_analysis(config(tmp_path))
    page = (tmp_path / "results/persona/report.html").read_text()
    assert "oracle; agreement on questions held out: terse 95 %" in page
    assert "It reads the first 50 words alone." in page
    assert "<td>0.95</td>" in page and "0.9 to 0.98" in page
