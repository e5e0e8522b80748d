"""Drift of every layer: with the beginning-of-sequence token, and of rows that are streamed."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from loradrift.activations import ActivationReader, ActivationStore, Pooling, Probe, pooling
from loradrift.analysis.drift import layers, token_drift
from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.layers import controls, layer_grid, mean_drift_replicates, run_drift
from loradrift.analysis.drift_report.sections import by_measure
from loradrift.runs import RunRecord
from loradrift.similarity import MEASURES, streaming
from loradrift.similarity.functional import sufficient_stats

NUM_TOKENS = [3, 9, 1, 4, 7, 2, 12, 5, 6, 8]


def rows_of_different_length():
    """Each after a special token, 1."""
    width = max(NUM_TOKENS) + 1
    real = torch.arange(width) <= torch.tensor(NUM_TOKENS)[:, None]
    ids = torch.where(real, 7, 0)
    ids[:, 0] = 1
    batch = {"input_ids": ids, "attention_mask": real, "content_mask": real & (ids != 1)}
    return Probe(tuple(map(str, range(len(NUM_TOKENS)))), (batch,))


def token_streams(bos_size, seed):
    """Activations (T, D) of each row's tokens, whose first is the same vector in all rows."""
    generator = torch.Generator().manual_seed(seed)
    bos_D = bos_size * torch.randn(6, generator=generator)
    rows = [torch.randn(n, 6, generator=generator) for n in NUM_TOKENS]
    return bos_D, [torch.cat([bos_D[None], row_TD]) for row_TD in rows]


def mean_rows(streams, first):
    return torch.stack([x_TD[first:].mean(0) for x_TD in streams])


@pytest.fixture
def dumped(tmp_path):
    """Two layers at two steps, and the streams they are means of."""

    def write(*steps_with_bos):
        written = {}
        with ActivationStore(tmp_path / "activations") as store:
            store.prepare(rows_of_different_length(), Pooling(), ["layer_0", "layer_1"])
            for step in (0, 1):
                layers = [token_streams(50.0 * (1 + step), 10 * step + k) for k in (0, 1)]
                rows = {f"layer_{k}": mean_rows(x, 1) for k, (_, x) in enumerate(layers)}
                bos_LD = torch.stack([bos_D for bos_D, _ in layers])
                store.write(step, rows, bos_LD if step in steps_with_bos else None)
                written[step] = [streams for _, streams in layers]
        run = Run(tmp_path, RunRecord(coordinates={}, config={}))
        return written, run_drift(run, []).set_index(["step", "layer", "measure"])["drift"]

    return write


def test_it_is_the_drift_of_rows_pooled_with_the_token(dumped):
    written, drift = dumped(0, 1)
    for k in (0, 1):
        base_ND, tuned_ND = (mean_rows(written[step][k], 0) for step in (0, 1))
        expected = MEASURES["cka"].distance(base_ND, tuned_ND)
        assert drift[1, k, "cka_with_bos"] == pytest.approx(expected, rel=1e-5)
        assert drift[0, k, "cka_with_bos"] == 0
        assert abs(drift[1, k, "cka_with_bos"] - drift[1, k, "cka"]) > 0.1  # the token decides


@pytest.mark.parametrize("held", [(), (0,), (1,)])
def test_without_the_token_in_both_dumps_it_is_absent(dumped, held):
    _, drift = dumped(*held)
    steps = {step for step, _, measure in drift.index if measure == "cka_with_bos"}
    assert steps == ({0} if held == (0,) else set())
    assert {"cka", "cka_without_massive", "cosine"} <= set(drift.index.get_level_values("measure"))


def test_the_reports_table_shows_it_beside_the_other_forms_of_cka(dumped):
    _, drift = dumped(0, 1)
    table = drift.reset_index().assign(task="sst2", method="lora", seed=1)
    table["compared"] = table["step"] == 1
    shown = by_measure(SimpleNamespace(drift=table, arms=Arms.of())).frame
    forms = ["CKA", "CKA biased", "CKA without massive", "CKA with bos"]
    assert list(shown.columns) == ["task", "method", *forms, "cosine", "cosine centered"]
    assert shown["CKA with bos"].item() == pytest.approx(drift[1, :, "cka_with_bos"].mean())


N, D, LAYERS = 400, 12, ("layer_0", "layer_1")
EXACT = set(MEASURES) - {"cka_rbf", "knn", "rsa"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two dumps of 400 tokens with a massive dimension and means far from zero."""
    for module in (pooling, token_drift):
        monkeypatch.setattr(module, "SAMPLE", 90)
    monkeypatch.setattr(token_drift, "CHUNK", 64)
    monkeypatch.setattr(streaming, "CHUNK", 100)
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(N, D, generator=generator) + 3 for name in LAYERS}
    for rows_ND in base.values():
        rows_ND[:, 2] *= 50
    noise = {name: torch.randn(N, D, generator=generator) for name in LAYERS}
    probe = SimpleNamespace(fingerprint="p", ids=("a",))
    with ActivationStore(tmp_path / "activations") as store:
        store.prepare(probe, Pooling("tokens", max_tokens=None), LAYERS)
        for step, size in ((0, 0.0), (50, 1e-4), (100, 0.5)):
            store.write(step, {name: base[name] + size * noise[name] for name in LAYERS})
    return SimpleNamespace(store=ActivationStore(tmp_path / "activations"))


def one_shot(run, monkeypatch, table, *arguments):
    with monkeypatch.context() as patch:
        for module in (layers, token_drift):
            patch.setattr(module, "is_streamed", lambda store: False)
        return table(run, *arguments)


def test_every_measure_is_that_of_all_rows_or_of_the_sample(run, monkeypatch):
    streamed = run_drift(run, list(MEASURES))
    whole = one_shot(run, monkeypatch, run_drift, list(MEASURES))
    places = ["step", "layer", "measure"]
    pd.testing.assert_frame_equal(streamed[places], whole[places])
    exact = streamed["measure"].isin(EXACT | {"cka_without_massive"})
    assert exact.sum() == len(streamed) * 8 / 11
    expected = whole["drift"][exact].tolist()
    assert streamed["drift"][exact].tolist() == pytest.approx(expected, abs=1e-6)
    chosen = pooling.row_sample(N)
    assert len(chosen) == 90
    for row in streamed[~exact].itertuples():
        x, y = (run.store.read(step)[f"layer_{row.layer}"][chosen] for step in (0, row.step))
        assert row.drift == MEASURES[row.measure].distance(x, y)


def test_a_tiny_drift_keeps_its_digits(run, monkeypatch):
    monkeypatch.setattr(sufficient_stats, "NARROW", 4)  # float32 products, as of wide layers
    streamed = run_drift(run, []).set_index(["step", "layer", "measure"])["drift"]
    whole = one_shot(run, monkeypatch, run_drift, [])
    expected = whole.set_index(["step", "layer", "measure"])["drift"]
    for measure in ("cka", "cka_without_massive", "cosine_centered"):
        assert 0 < expected[50, 1, measure] < 1e-6
        assert streamed[50, 1, measure] == pytest.approx(expected[50, 1, measure], rel=1e-3)


def test_no_more_than_a_few_rows_are_in_memory(run, monkeypatch):
    read, update, most = ActivationReader.read_rows, streaming.SummedRows.update, []

    def watched(store, *arguments):
        for chunk in read(store, *arguments):
            most.append(len(chunk))
            yield chunk

    def counted(metric, *sides):
        update(metric, *sides)
        most.append(sum(map(len, metric.rows_x)))

    monkeypatch.setattr(ActivationReader, "read_rows", watched)
    monkeypatch.setattr(streaming.SummedRows, "update", counted)
    monkeypatch.setattr(ActivationReader, "read", lambda *_: pytest.fail("a whole layer is read"))
    run_drift(run, list(MEASURES))
    tables = controls(run, run, 0), layer_grid(run), mean_drift_replicates(run)
    assert max(most) == 64
    assert (tables[0]["sample_of"] == N).all() and tables[0]["floor"].abs().max() < 1e-3
    assert len(tables[1]) == len(LAYERS) ** 2
    assert len(tables[2]) == 90


def test_a_measure_without_a_metric_is_of_the_sample_and_few_rows_are_read_whole(run, monkeypatch):
    added = replace(MEASURES["knn"], name="added", distance=lambda x, y: float(len(x)))
    monkeypatch.setattr(token_drift, "MEASURES", {**MEASURES, "added": added})
    drift = run_drift(run, ["added"]).set_index("measure")["drift"]
    assert set(drift["added"]) == {90.0}
    monkeypatch.setattr(token_drift, "SAMPLE", N)
    assert not token_drift.is_streamed(run.store)
    assert "sample_of" not in controls(run, run, 0)
    assert len(mean_drift_replicates(run)) == N
