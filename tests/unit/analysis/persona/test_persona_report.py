"""``analysis=persona`` on planted cells: what is found, said to be missing, and refused."""

import json

import numpy as np
import pandas as pd
import pytest
from planted_cells import DOSES, TRUTH, World, questions_of

from loradrift.analysis.persona.tables import tabulate
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import UserError
from loradrift.report.verdicts import Verdict
from loradrift.runs.record import Status


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Bitmaps of few dots, and fewer resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        patch.setattr("loradrift.analysis.steering_cells.resampled.draws.__defaults__", (400,))
        yield


def config(root, keys=None, **values):
    places = {"runs": str(root / "runs"), "results": str(root / "results")}
    return make_config("persona", keys=keys, **places, **values)


def found(root, **keys):
    return tabulate(config(root, keys))


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


def test_missing_arms_are_named_with_the_command_that_makes_them(tmp_path):
    truth = {arm: TRUTH[arm] for arm in ("none", "activation", "weight")}
    World(tmp_path).arms(truth=truth, layers=[1], direction_seed=2)
    persona = found(tmp_path)
    assert persona.findings["equivalence"].verdict is Verdict.NO_DATA
    assert "arm=prompt was not measured and judged" in persona.findings["equivalence"].why
    [line] = [each for each in persona.missing if each.startswith("arm=prompt")]
    assert (
        "`python benchmark.py benchmark=steering trait=cheerful,terse arm=prompt "
        "coefficient=0.2,0.4,0.6,0.8,1 -m` makes it"
    ) in line
    [line] = [each for each in persona.missing if each.startswith("arm=random_activation")]
    assert "coefficient=0.25,0.5,0.75,1 'steering.layers=[1]' steering.direction_seed=2 -m" in line


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


def test_answers_that_wait_for_the_judge_are_unknown_and_said(tmp_path):
    World(tmp_path).arms(["terse"], unjudged=[0])
    persona = found(tmp_path)
    assert persona.tables["answers"]["unjudged"].sum() == 17
    assert any(
        "17 answers are not judged yet, and count as unknown: `python benchmark.py "
        "benchmark=judging judge=oracle` judges them" in line for line in persona.problems
    )  # fmt: skip


def test_cells_without_scores_or_unfinished_are_named(tmp_path):
    world = World(tmp_path).arms(["terse"])
    world.cell("terse", "bias_only", 1, 50, 90, status=Status.INTERRUPTED)
    world.judge = None
    world.cell("terse", "weight_positive", 1, 50, 90)
    lines = found(tmp_path).problems
    assert any("its status is interrupted: `python benchmark.py benchmark=steering trait=terse "
               "arm=bias_only coefficient=1` goes on" in line for line in lines)  # fmt: skip
    again = "is not judged by oracle: `python benchmark.py benchmark=judging judge=oracle`"
    assert any(again in line for line in lines)


def test_an_arm_that_is_not_judged_is_not_missing(tmp_path):
    world = World(tmp_path).arms(["terse"], {arm: TRUTH[arm] for arm in ("none", "weight")})
    world.judge = None
    world.arms(["terse"], {"prompt": TRUTH["prompt"]})
    persona = found(tmp_path)
    assert not any(line.startswith("arm=prompt") for line in persona.missing)
    assert sum("is not judged by oracle" in line for line in persona.problems) == 4
    assert "prompt" in persona.findings["equivalence"].why


def test_one_question_has_no_interval(tmp_path):
    World(tmp_path, questions=1).arms(["terse"])
    finding = found(tmp_path).findings["equivalence"]
    assert finding.verdict is Verdict.UNDECIDED and "there is no interval: one unit" in finding.why


def refused(root, match, **keys):
    with pytest.raises(UserError, match=match) as error:
        found(root, **keys)
    assert "\n" not in str(error.value)


def test_mixed_bases_judges_questions_and_directions_are_refused(tmp_path):
    def mixed(name, **odd):
        root = tmp_path / name
        World(root).arms(["terse"])
        World(root).cell("terse", "weight", 2.0, 90, 50, **odd)
        return root

    refused(mixed("base", base="beef"), "base_model is f00d in hf/.* and beef in hf/.*cell=<folder")
    refused(mixed("samples", samples=2), "steering.samples is 1 in .* and 2 in")
    facts = {"fingerprint": "oracle 2"}
    refused(mixed("judge", judge_facts=facts), "the settings of the judge oracle differ between")
    asked = [*questions_of("terse")[:-1], "another one?"]
    refused(mixed("questions", questions=asked), "the questions about terse differ between")
    prints = {"direction": "trained anew"}
    refused(mixed("direction", fingerprints=prints), "the direction of terse differ between")


def test_a_cell_chooses_among_several_settings_and_a_judge_among_several(tmp_path):
    truth = {arm: TRUTH[arm] for arm in ("none", "weight")}
    World(tmp_path).arms(["terse"], truth)
    other = World(tmp_path, judge="endpoint")
    other.cell("terse", "none", 0, 20, 90, model="big", base="beef")
    refused(tmp_path, "model is big in .* and tiny in")
    name = "hf/tiny,trait=terse,arm=none,coefficient=0"
    persona = found(tmp_path, cell=name)
    assert len(persona.compared.judged) == 5
    assert "1 cells of another setting than" in persona.problems[0]
    refused(tmp_path, "cell must be one of hf/big", cell="hf/huge")
    refused(tmp_path, "judge must be one of oracle, which have judged cells, got endpoint",
            cell=name, judge="endpoint")  # fmt: skip


def test_no_cell_says_what_makes_one(tmp_path):
    refused(tmp_path, "holds no finished steering cell: `python benchmark.py benchmark=steering")


def damage(folder, name, old, new):
    path = folder / name
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("judged/oracle/terse.csv", ",scored", ",fine", "'fine' is not a valid Status"),
        ("judged/oracle/terse.csv", "terse/3/0", "terse/77/0", "no answer with the id terse/77/0"),
        ("judged/oracle/terse.csv", "answer 3 of", "answer 4 of", "row terse/3/0 scores another"),
        ("judged/oracle/terse.csv", "terse/3/0", "terse/4/0", "two rows have one id"),
        ("judged/oracle/judge.json", "{", "[", "judge.json is damaged"),
        ("answers.csv", "answer,", "reply,", "lacks the column answer"),
    ],
)
def test_a_damaged_cell_is_one_line_and_the_others_stand(tmp_path, name, old, new, says):
    world = World(tmp_path).arms(["terse"])
    damage(world.cell("terse", "weight", 2.0, 90, 50), name, old, new)
    persona = found(tmp_path)
    assert any(says in line and "benchmark" in line for line in persona.problems), persona.problems
    weight = next(curve for curve in persona.curves if curve.arm.kind == "weight")
    assert weight.doses_D.tolist() == list(DOSES)


def test_seeds_of_a_direction_are_averaged_where_all_have_a_dose(tmp_path):
    world = World(tmp_path, noise=0, luck=0)
    world.cell("terse", "none", 0, 20, 90)
    for seed, score in ((1, 40), (2, 60)):
        world.cell("terse", "weight", 0.5, score, 90, direction_seed=seed)
    world.cell("terse", "weight", 1.0, 90, 90, direction_seed=1)
    persona = found(tmp_path)
    weight = next(curve for curve in persona.curves if curve.arm.kind == "weight")
    assert weight.doses_D.tolist() == [0, 0.5] and weight.seeds == (1, 2)
    np.testing.assert_allclose(weight.traits_VND.mean(axis=(0, 1)), [20, 50])
    assert any("weights of terse at dose 1 is left out: direction seed 2 lacks it" in line
               for line in persona.problems)  # fmt: skip


def test_variants_of_an_arm_have_curves_of_their_own(tmp_path):
    world = World(tmp_path).arms(["terse"])
    world.arms(["terse"], {"activation": TRUTH["activation"]}, positions="response")
    persona = found(tmp_path)
    texts = [curve.arm.text for curve in persona.curves if curve.arm.kind == "activation"]
    assert texts == ["activations (positions=all)", "activations (positions=response)"]
    assert persona.findings["equivalence"].verdict is Verdict.SUPPORTED  # of positions=all


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


def test_an_endpoint_is_named_as_it_is_typed(tmp_path):
    World(tmp_path, judge="endpoint-gpt").arms(["terse"], unjudged=[0])
    assert found(tmp_path, judge="endpoint").compared.judge == "endpoint-gpt"
    assert any("`python benchmark.py benchmark=judging judge=endpoint judge.model=gpt`" in line
               for line in found(tmp_path).problems)  # fmt: skip
