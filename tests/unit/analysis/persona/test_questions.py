"""Side effects, two traits at once, prevention and costs on planted cells."""

import numpy as np
import pytest
from planted_cells import TRUTH, World, found
from planted_questions import TRAITS, compose, neutral, prevent, timed
from planted_runs import drawn, plus, truth_of, write_direction, write_run

from loradrift.analysis.persona.doses import paired_shares
from loradrift.analysis.persona.drawers import PERSONA
from loradrift.analysis.persona.entanglement import selectivity, side_effects
from loradrift.analysis.persona.spaces import read_spaces
from loradrift.report.verdicts import Verdict


def steer(world, *, beside=0.3):
    """Weights at two doses; the other trait moves by a share of the steered one's gain."""
    for trait, other in (TRAITS, TRAITS[::-1]):
        world.cell(trait, "none", 0.0, 20, 95, others={other: 40})
        for dose in (0.25, 0.5):
            gain = 80 * dose
            world.cell(trait, "weight", dose, 20 + gain, 90, others={other: 40 - beside * gain})


def test_side_effects_on_other_traits_are_found(tmp_path):
    world = World(tmp_path)
    steer(world)
    persona = found(tmp_path)
    table = persona.tables["entanglement"].set_index(["steered", "judged"])
    assert table.loc[("terse", "terse"), "gain"] == pytest.approx(40, abs=4)
    row = table.loc[("terse", "cheerful")]
    assert row["dose"] == 0.5 and row["low"] < -12 < row["high"] and row["high"] < 0
    finding = persona.findings["interpretability"]
    assert finding.verdict is Verdict.SUPPORTED and "+2" in finding.lines[0]  # 40 - 12


def test_unknown_scores_of_another_trait_may_be_no_change_or_a_large_one(tmp_path):
    world = World(tmp_path)
    steer(world, beside=0.0)
    folder = next((tmp_path / "runs/steering/hf").glob("*trait=terse,arm=weight,coefficient=0.5"))
    lines = (folder / "judged/oracle/cheerful.csv").read_text().splitlines()
    lost = [",".join([*line.split(",")[:-3], "", "", "refusal"]) for line in lines[1:11]]
    (folder / "judged/oracle/cheerful.csv").write_text("\n".join([lines[0], *lost, *lines[11:]]))
    [side] = [each for each in side_effects(found(tmp_path).reached, 0) if each.steered == "terse"]
    [own] = selectivity([side])
    # between 40 points less and 60 more of half of the answers: 0 to 30 in size
    assert own.difference.values_V[0] == pytest.approx(side.gains["terse"].values_V[0] - 30, abs=6)
    assert own.difference.values_V[2] == pytest.approx(side.gains["terse"].values_V[2], abs=0.01)


def test_a_direction_that_moves_another_trait_more_is_refuted(tmp_path):
    world = World(tmp_path)
    steer(world, beside=-1.4)
    assert found(tmp_path).findings["interpretability"].verdict is Verdict.REFUTED


def test_two_traits_that_stay_as_they_are_alone_compose(tmp_path):
    compose(World(tmp_path, noise=4))
    persona = found(tmp_path)
    table = persona.tables["composition"].set_index("judged")
    assert (table["kept"].abs() < 5).all()
    assert table["gain"].to_dict() == pytest.approx({"cheerful": 40, "terse": 40}, abs=5)
    finding = persona.findings["composition"]
    assert finding.verdict is Verdict.SUPPORTED
    assert [line.split(":")[0] for line in finding.lines] == [
        "cheerful beside terse", "terse beside cheerful",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict", "why"),
    [
        ({"both": (60, 25)}, Verdict.REFUTED, ""),
        ({"coherence": 40}, Verdict.UNDECIDED, "the coherence of both together is "),
    ],
)
def test_a_trait_that_is_lost_or_garbled_does_not_compose(tmp_path, changes, verdict, why):
    compose(World(tmp_path, noise=4), **changes)
    finding = found(tmp_path).findings["composition"]
    assert finding.verdict is verdict and why in finding.why


def test_what_was_not_steered_alone_is_named(tmp_path):
    world = World(tmp_path, noise=4)
    first, second = TRAITS
    world.cell(first, "none", 0.0, 20, 95, others={second: 20})
    world.cell(first, "weight", 0.5, 60, 90, others={second: 60}, also={second: 0.5})
    finding = found(tmp_path).findings["composition"]
    assert finding.verdict is Verdict.UNDECIDED
    assert finding.why == "cheerful, terse was not steered alone on the same questions"


@pytest.mark.parametrize(
    ("treated", "verdict"),
    [(30, "supported"), (90, "refuted"), (70, "undecided")],
)
def test_training_with_the_direction_merged_is_compared_with_training_without(
    tmp_path, treated, verdict
):
    prevent(tmp_path, treated=treated)
    persona = found(tmp_path)
    [row] = persona.tables["prevention"].to_dict("records")
    assert (row["trait"], row["trained_on"], row["seed"]) == ("terse", "terse pos", 2)
    assert row["without"] == pytest.approx(70, abs=5)
    assert row["with_direction"] == pytest.approx(treated, abs=8)
    # scores end at 100, which takes some of the luck away
    assert row["difference"] == pytest.approx(treated - 70, abs=8)
    assert persona.findings["prediction"].lines[-1].endswith(verdict)


def test_a_direction_that_was_taken_away_while_training_prevents_nothing(tmp_path):
    prevent(tmp_path, treated=30, sign=-1.0)
    persona = found(tmp_path)
    assert len(persona.tables["prevention"]) == 1
    assert persona.findings["prediction"].lines[-1].endswith("no data")


def test_a_run_without_a_partner_is_named(tmp_path):
    world = World(tmp_path)
    world.cell("terse", "none", 0.0, 20, 95)
    merged = write_run(tmp_path / "runs/b", drawn("b"), trait="terse", side="pos", direction="x")
    world.cell("terse", "none", 0.0, 40, 90, run=str(merged))
    persona = found(tmp_path)
    assert persona.tables["prevention"].empty
    assert any("has no partner trained without task.direction" in line for line in persona.problems)


def test_time_per_token_is_paired_by_round(tmp_path):
    World(tmp_path).cell("terse", "none", 0.0, 20, 95)
    timed(tmp_path)
    timed(tmp_path, base="beef", name="other")  # of another model
    persona = found(tmp_path)
    table = persona.efficiency.overheads.set_index(["arm", "against", "batch"])
    row = table.loc[("hook", "base", 0)]
    assert row["low"] < 1.2 < row["high"] < 1.25 and row["rounds"] == 5
    assert persona.findings["efficiency"].verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"merged": 1.3}, Verdict.REFUTED),
        ({"rounds": 3}, Verdict.UNDECIDED),
        ({"base": "beef"}, Verdict.NO_DATA),
    ],
)
def test_what_merging_costs_has_a_verdict(tmp_path, changes, verdict):
    World(tmp_path).cell("terse", "none", 0.0, 20, 95)
    timed(tmp_path, **changes)
    assert found(tmp_path).findings["efficiency"].verdict is verdict


def test_a_damaged_cell_of_costs_is_named(tmp_path):
    World(tmp_path).cell("terse", "none", 0.0, 20, 95)
    (timed(tmp_path) / "samples.parquet").write_text("none")
    assert any(
        "is damaged" in line and "steering_cost" in line for line in found(tmp_path).problems
    )


def test_loss_and_accuracy_are_against_no_steering_on_the_same_rows(tmp_path):
    world = World(tmp_path)
    right = [{"id": str(n), "correct": n % 4 > 0} for n in range(40)]
    fewer = [{"id": str(n), "correct": n % 4 > 1} for n in range(40)]
    world.cell("terse", "none", 0.0, 20, 95, neutral=neutral(0.0), task=right)
    world.cell("terse", "weight", 0.5, 60, 90, neutral=neutral(0.25), task=fewer)
    world.cell("terse", "weight", 1.0, 80, 90, neutral=neutral(0.5)[:5], task=right[1:])
    table = found(tmp_path).tables["doses"].set_index(["arm", "dose"])
    row = table.loc[("weight", 0.5)]
    assert row["loss_rise"] == pytest.approx(0.25) and row["neutral_rows"] == 12
    assert row["loss_rise_low"] == pytest.approx(0.25) == row["loss_rise_high"]
    assert row["accuracy_loss"] == pytest.approx(0.25) and row["accuracy"] == 0.5
    assert 0.1 < row["accuracy_loss_low"] < 0.25 < row["accuracy_loss_high"] < 0.4
    other = table.loc[("weight", 1.0)]  # of other rows: not compared
    assert np.isnan(other["loss_rise"]) and np.isnan(other["accuracy_loss"])


def test_rows_that_all_agree_show_no_equality():
    found_here = paired_shares(np.ones(30), np.ones(30))
    assert found_here.estimate == 0 and found_here.high == pytest.approx(0.1157, abs=1e-3)
    assert found_here.low == -found_here.high


def test_directions_are_shown_by_layer_and_against_each_other(tmp_path):
    for trait in TRAITS:
        own = plus(truth_of(trait), truth_of("shared"))
        write_direction(tmp_path / "results", trait, 0, own)
    write_direction(tmp_path / "results", "other", 0, truth_of("other"), base="beef")
    spaces = read_spaces(tmp_path / "results", "main", "f00d", "prompt_last")
    assert set(spaces.layers.loc[spaces.layers["used"], "vector"]) == {"prompt_last"}
    assert set(spaces.layers["trait"]) == set(TRAITS)
    [row] = spaces.interference.to_dict("records")
    assert (row["trait"], row["other"]) == TRAITS and 0.2 < row["weights"] < 0.8
    assert row["vectors"] == pytest.approx(1)  # the same vectors were planted
    assert "0.80 (random 0.01)" in spaces.lines()[0]


def test_every_figure_is_drawn_or_has_nothing_to_show(tmp_path):
    empty, full = tmp_path / "empty", tmp_path / "full"
    World(empty).cell("terse", "none", 0.0, 20, 95)
    world = World(full)
    world.arms(TRAITS, TRUTH, neutral=neutral(0.1), task=[{"id": "0", "correct": True}] * 1)
    world.cell("terse", "weight", 0.1, 25, 95, others={"cheerful": 20})
    compose(World(tmp_path / "both"))
    prevent(tmp_path / "kept")
    timed(full)
    write_direction(full / "results", "terse", 0, truth_of("terse"))
    drawn_names = set()
    for root in (full, tmp_path / "both", tmp_path / "kept", empty):
        persona = found(root)
        for draw in PERSONA.values():
            for figure in draw(persona, root / "figures"):
                assert (root / "figures" / f"{figure.name}.png").stat().st_size > 0
                drawn_names.add(figure.name)
    assert drawn_names == set(PERSONA)
