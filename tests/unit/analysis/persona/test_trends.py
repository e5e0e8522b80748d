"""Monotone dose-response, and what contradicts a dose."""

import itertools

import numpy as np
import pytest
from planted_cells import TRUTH, World, found
from scipy import stats

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.persona.trends import kendall, trend_table


def test_tau_is_scipys():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(3, 5, 6))
    taus = kendall(means)
    for place in itertools.product(range(3), range(5)):
        assert taus[place] == pytest.approx(stats.kendalltau(range(6), means[place]).statistic)


def test_planted_arms_rise_and_random_ones_do_not(tmp_path):
    World(tmp_path).arms(["terse"])
    table = found(tmp_path).tables["trends"].set_index("arm")
    assert table.loc[["prompt", "activation", "weight"], "monotone"].all()
    assert (table.loc[["prompt", "activation", "weight"], "tau"] == 1).all()
    row = table.loc["random_weight"]
    assert not row["monotone"] and row["change_low"] < 0 < row["change_high"]
    assert "none" not in table.index


def test_a_dose_of_0_that_changes_answers_and_doses_that_change_none_are_said(tmp_path):
    world = World(tmp_path).arms(["terse"], {arm: TRUTH[arm] for arm in ("none", "weight")})
    world.cell("terse", "weight", 0.0, 20, 95)  # its answers are other texts than those of none
    world.cell("terse", "bias_only", 0.5, 20, 95)
    folder = next((tmp_path / "runs/steering/hf").glob("*bias_only*"))
    for name in ("answers.csv", "judged/oracle/terse.csv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("of bias_only at 0.5", "of none at 0"))
    lines = found(tmp_path).problems
    assert any("weights of terse changes 20 of 20 answers at dose 0" in line for line in lines)
    assert any("bias only of terse changes no answer at any dose" in line for line in lines)
    assert not any("activations" in line for line in lines)


def test_a_base_without_coherence_is_said(tmp_path):
    truth = {"none": (lambda c: 20, lambda c: 60), "weight": (lambda c: 20 + 9 * c, lambda c: 60)}
    World(tmp_path).arms(["terse"], truth)
    persona = found(tmp_path)
    assert any("without steering the answers about terse have a coherence of" in line
               for line in persona.problems)  # fmt: skip
    assert persona.tables["gains"]["gain"].isna().all()
    assert found(tmp_path, coherence=40.0).tables["gains"]["gain"].notna().all()


def trend(means, spread=20.0, seed=1):
    """The row of a curve with these means, whose questions differ by ``spread`` in each dose."""
    noise = spread * np.random.default_rng(seed).normal(size=(20, len(means)))
    levels = np.stack([50 + noise - noise.mean(axis=0) + np.array(means)] * 3)
    curve = Curve(
        steered="x", judged="x", arm=Arm("weight"), doses_D=np.arange(float(len(means))),
        traits_VND=levels, coherences_VND=np.full_like(levels, 90), cells={},
    )  # fmt: skip
    [row] = trend_table([curve], seed=0).to_dict("records")
    return row


def test_a_rise_by_luck_is_no_dose_response():
    row = trend([0.0, 0.1, 0.2, 0.3])  # every larger dose scores higher
    assert row["tau"] == 1 and row["falls"] == 0 and not row["monotone"]


def test_a_fall_at_the_top_by_luck_is_none_and_a_real_one_is():
    row = trend([0, 20, 45, 44.5], spread=3)
    assert row["tau"] < 1 and row["falls"] == 0 and row["monotone"]
    row = trend([0, 20, 45, 35], spread=3)
    assert row["falls"] == 1 and row["change_low"] > 0 and not row["monotone"]
    assert trend([0, -20, -45], spread=3)["falls"] == 2
