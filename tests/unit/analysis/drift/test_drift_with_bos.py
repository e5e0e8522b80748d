"""Drift with the beginning-of-sequence token pooled in, against pooling it in from the start."""

from types import SimpleNamespace

import pytest
import torch

from loradrift.activations import ActivationStore, Pooling, Probe
from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.layers import run_drift
from loradrift.analysis.drift_report.page import _measures
from loradrift.runs import RunRecord
from loradrift.similarity import MEASURES

NUM_TOKENS = [3, 9, 1, 4, 7, 2, 12, 5, 6, 8]


def probe():
    """Rows of different length after a special token, 1."""
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
            store.prepare(probe(), Pooling(), ["layer_0", "layer_1"])
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
    shown = _measures(SimpleNamespace(drift=table, arms=Arms.of())).frame
    forms = ["cka", "cka_biased", "cka_without_massive", "cka_with_bos"]
    assert list(shown.columns) == ["task", "method", *forms, "cosine", "cosine_centered"]
    assert shown["cka_with_bos"].item() == pytest.approx(drift[1, :, "cka_with_bos"].mean())
