"""Every figure of a request by hand, each adapter against its merged model, first requests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from serving_cells import ADAPTERS, FEW, Simulated

from loradrift.analysis.serving.adapters import (
    EVICTED,
    FILES,
    SLOT,
    adapter_table,
    cold_table,
    start_table,
)
from loradrift.analysis.serving.latencies import (
    ALL,
    band_table,
    call_table,
    few_as_nan,
    latency_table,
    summary,
)
from loradrift.analysis.serving.plans import Arm, read_plan

TIMES = ([0.5, 0.7, 1.1, 1.3], [0.4], [0.2, 1.2])
"""When the tokens of three requests came."""


@pytest.fixture
def requests():
    rows = [{"ttft_s": each[0], "latency_s": each[-1], "tokens": len(each),
             "token_times_s": np.array(each)} for each in TIMES]  # fmt: skip
    return pd.DataFrame(rows)


def test_figures_are_those_of_the_definitions(requests):
    found = summary(requests, call_s=2.0, target_s=1.25)
    assert found["ttft_mean_s"] == pytest.approx((0.5 + 0.4 + 0.2) / 3)
    assert found["latency_mean_s"] == pytest.approx((1.3 + 0.4 + 1.2) / 3)
    tpot = [0.8 / 3, 1.0]  # a request of one token has none
    assert found["tpot_mean_s"] == pytest.approx(np.mean(tpot))
    gaps = [0.2, 0.4, 0.2, 1.0]  # and no gap
    assert found["itl_mean_s"] == pytest.approx(np.mean(gaps))
    assert found["itl_p50_s"] == pytest.approx(0.3)
    assert found["tokens_per_s"] == 7 / 2 and found["requests_per_s"] == 3 / 2
    assert found["goodput_per_s"] == 2 / 2, "1.3 s is past the target"


def test_a_latency_at_the_target_meets_it(requests):
    assert summary(requests, 1.0, target_s=1.3)["goodput_per_s"] == 3


def test_one_token_answers_have_no_gaps(requests):
    found = summary(requests[requests["tokens"] == 1], 1.0, 1.0)
    assert np.isnan(found["tpot_mean_s"]) and np.isnan(found["itl_p99_s"])


@pytest.fixture(scope="module")
def cell():
    return Simulated(**FEW)


@pytest.fixture(scope="module")
def samples(cell):
    rows = [row for number in range(5) for row in cell.round_rows(number)]
    return pd.DataFrame(rows).assign(place=range(len(rows)))


def test_merged_arms_are_one_arm_too(cell, samples):
    plan = read_plan(cell.plan())
    table = latency_table(samples, call_table(samples), plan)
    own = table[(table["load"] == 8) & (table["adapter"] == ALL)].set_index("arm")
    merged = own.loc[[f"merged_{name}" for name in ADAPTERS]]
    assert own["requests"]["merged"] == merged["requests"].sum() == 4 * 5 * 8
    assert own["latency_mean_s"]["merged"] == pytest.approx(merged["latency_mean_s"].mean())
    tokens, seconds = merged["tokens"].sum(), (merged["tokens"] / merged["tokens_per_s"]).sum()
    assert own["tokens_per_s"]["merged"] == pytest.approx(tokens / seconds)


def test_an_adapters_throughput_among_merged_models_is_its_own_engines(cell, samples):
    """Four merged models answer in calls of their own: none waits for another's."""
    plan = read_plan(cell.plan())
    table = latency_table(samples, call_table(samples), plan)
    own = table[(table["load"] == 8) & table["arm"].str.startswith("merged")]
    own = own.set_index(["arm", "adapter"])
    for name in ADAPTERS:
        among, alone = own.loc[("merged", name)], own.loc[(f"merged_{name}", ALL)]
        assert among["tokens_per_s"] == pytest.approx(alone["tokens_per_s"])
        assert among["calls"] == alone["calls"] == 5


def test_percentiles_of_few_values_are_not_shown():
    assert few_as_nan(0.5, 95, 20) == few_as_nan(0.5, 99, 100) == 0.5
    assert np.isnan(few_as_nan(0.5, 95, 19)) and np.isnan(few_as_nan(0.5, 99, 99))


def test_adapters_share_the_calls_of_their_arm(cell, samples):
    plan = read_plan(cell.plan())
    table = latency_table(samples, call_table(samples), plan)
    own = table[(table["load"] == 8) & (table["arm"] == "multi_4_adapters")].set_index("adapter")
    each = own.loc[list(ADAPTERS)]
    assert (each["requests"] == 10).all() and own["requests"][ALL] == 40
    assert each["tokens_per_s"].sum() == pytest.approx(own["tokens_per_s"][ALL])


def test_bands_are_geometric_means_over_rounds(cell, samples):
    plan = read_plan(cell.plan())
    table = band_table(call_table(samples), plan).set_index(["load", "arm"])
    own = samples[(samples["load"] == 8) & (samples["arm"] == "baseline")]
    means = own.groupby("round")["latency_s"].mean()
    row = table.loc[(8.0, "baseline")]
    assert row["mean_latency_s"] == pytest.approx(np.exp(np.log(means).mean()))
    half = 2.7764451051977987 * np.log(means).std(ddof=1) / np.sqrt(5)
    assert row["mean_latency_s_high"] == pytest.approx(row["mean_latency_s"] * np.exp(half))


def test_an_adapter_is_held_against_its_own_merged_model(cell, samples):
    slow = samples.copy()
    own = (slow["asked"] == "mrpc") & (slow["arm"] == "multi_2_adapters")
    slow.loc[own, "latency_s"] *= 2
    plan = read_plan(cell.plan())
    table = adapter_table(slow, plan, "offline").set_index(["load", "arm", "adapter"])
    for name, truth in (("sst2", 1.85), ("mrpc", 3.7)):
        row = table.loc[(8.0, "multi_2_adapters", name)]
        assert row["ratio"] == pytest.approx(truth, rel=0.06)
        assert row["low"] < row["ratio"] < row["high"] and row["requests"] == 20
    assert not any(arm.startswith("merged") for _, arm, _ in table.index)


def test_a_cold_wait_is_loading_and_first_token(cell):
    rows = [
        {"round": number, "arm": arm, "adapter": adapter, "state": state,
         "load_s": load if state == "cold" else 0.0,
         "ttft_s": 0.02 + 0.001 * number + (0.01 if state == "cold" else 0.0)}
        for number in range(5)
        for arm, load in (
            ("lora_enabled_base", 0.1), ("multi_4_adapters_2_slots", 0.0), ("in_memory", 0.0)
        )
        for adapter in ADAPTERS
        for state in ("cold", "warm")
    ]  # fmt: skip
    frame, plan = pd.DataFrame(rows), read_plan(cell.plan())
    late = (frame["arm"] == "in_memory") & (frame["state"] == "cold")
    frame.loc[late, "ttft_s"] += 0.005
    plan = replace(plan, arms=[*plan.arms, Arm(name="in_memory", kind="few_in_memory")])
    table = cold_table(frame, plan).set_index(["place", "adapter"])
    for adapter in (ALL, *ADAPTERS):
        assert table["difference_s"][FILES, adapter] == pytest.approx(0.11)
        assert table["difference_s"][SLOT, adapter] == pytest.approx(0.01)
        assert table["difference_s"][EVICTED, adapter] == pytest.approx(0.015)
    assert table["load_s"][FILES, "rte"] == pytest.approx(0.1)
    assert table["warm_s"][FILES, ALL] == pytest.approx(0.022)


def test_starts_are_of_every_engine():
    events = {
        "multi_2_adapters": {"start_s": 0.3, "load_s": {"sst2": 0.01, "mrpc": 0.03}},
        "server": {"start_s": 31.0, "load_s": {}, "memory_gb": 1.9},
    }
    first, second = start_table(events).to_dict("records")
    assert first["load_s"] == pytest.approx(0.02) and first["adapters"] == 2
    assert second["memory_gb"] == 1.9 and np.isnan(second["load_s"])
