"""Any split of the rows gives the value of all of them."""

import pytest
import torch

from loradrift.similarity import MEASURES, metrics, streaming
from loradrift.similarity.reference import reference

STREAMS = {
    "cka": metrics.CKA,
    "cka_biased": metrics.CKABiased,
    "procrustes": metrics.Procrustes,
    "svcca": metrics.SVCCA,
    "pwcca": metrics.PWCCA,
    "cosine": metrics.Cosine,
    "cosine_centered": metrics.CosineCentered,
    "cka_rbf": metrics.CKARBF,
    "knn": metrics.KNN,
    "rsa": metrics.RSA,
}


def build(name, d, e):
    kind = STREAMS[name]
    return kind(d, e) if issubclass(kind, streaming.SummedRows) else kind()


def pair(name, *, mean=0.0, n=150):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 9, generator=generator)
    y = x + torch.randn(n, 9, generator=generator)
    x[:, 2] *= 30
    return x + mean, (y if MEASURES[name].equal_widths else y[:, :7]) - mean


def test_every_measure_has_a_stream():
    assert set(STREAMS) == set(MEASURES)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 150])
@pytest.mark.parametrize("name", STREAMS)
def test_any_split_equals_one_shot(name, batch_size, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 50)
    x, y = pair(name)
    metric = build(name, x.shape[1], y.shape[1])
    for rows in zip(x.split(batch_size), y.split(batch_size), strict=True):
        metric.update(*rows)
    assert metric.compute().item() == pytest.approx(MEASURES[name](x, y), rel=1e-6)


@pytest.mark.parametrize("name", ["cka", "cka_biased", "svcca", "pwcca", "procrustes"])
def test_means_a_thousand_times_the_spread(name, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 40)
    x, y = pair(name, mean=1000.0)
    metric = build(name, x.shape[1], y.shape[1])
    for rows in zip(x.split(16), y.split(16), strict=True):
        metric.update(*rows)
    assert metric.compute().item() == pytest.approx(MEASURES[name](x, y), rel=1e-6)


@pytest.mark.parametrize("first", [1, 4, 700])
@pytest.mark.parametrize("size", [1, 100, 1000])
def test_a_massive_first_row_in_any_split_of_wide_rows(first, size, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 1)  # each batch is reduced by itself
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(700, 530, generator=generator)  # wide enough for float32 products
    y = x + 0.3 * torch.randn(700, 530, generator=generator)
    x[0] *= size
    y[0] *= size
    metric = metrics.CKA(530, 530)
    for rows in zip(
        x.split([first, 700 - first]) if first < 700 else [x],
        y.split([first, 700 - first]) if first < 700 else [y],
        strict=True,
    ):
        metric.update(*rows)
    assert metric.compute().item() == pytest.approx(reference("cka", x, y), rel=1e-6)


@pytest.mark.parametrize("name", ["cka", "svcca"])
def test_two_halves_merge(name):
    x, y = pair(name)
    first, second = (build(name, x.shape[1], y.shape[1]) for _ in range(2))
    first.update(x[:40], y[:40])
    second.update(x[40:], y[40:])
    first.merge_state(second)
    assert first.compute().item() == pytest.approx(MEASURES[name](x, y), rel=1e-6)
    with pytest.raises(TypeError, match="expected a .*, got Procrustes"):
        first.merge_state(build("procrustes", 9, 7))


@pytest.mark.parametrize("name", STREAMS)
def test_processes_are_gathered(name, monkeypatch):
    """What torchmetrics does across processes: each state is gathered, then reduced."""
    monkeypatch.setattr(streaming, "CHUNK", 30)
    x, y = pair(name)
    ranks = [build(name, x.shape[1], y.shape[1]) for _ in range(3)]
    bounds = (0, 70, 110, 150)
    for metric, start, end in zip(ranks, bounds, bounds[1:], strict=False):
        for rows in zip(x[start:end].split(16), y[start:end].split(16), strict=True):
            metric.update(*rows)

    first = ranks[0]
    names = iter(first._reductions)

    def gather(value, group=None):
        name = next(names)
        states = [getattr(metric, name) for metric in ranks]
        return [torch.cat(state) if isinstance(state, list) else state for state in states]

    first.dist_sync_fn, first.distributed_available_fn = gather, lambda: True
    assert first.compute().item() == pytest.approx(MEASURES[name](x, y), rel=1e-6)


def test_a_batch_value_and_a_reset():
    x, y = pair("cka")
    metric = build("cka", 9, 7)
    assert metric(x[:50], y[:50]).item() == pytest.approx(MEASURES["cka"](x[:50], y[:50]), rel=1e-6)
    metric(x[50:], y[50:])
    assert metric.compute().item() == pytest.approx(MEASURES["cka"](x, y), rel=1e-6)
    metric.reset()
    with pytest.raises(ValueError, match="at least 4 rows, got 0"):
        metric.compute()


def test_misaligned_batches_are_refused():
    with pytest.raises(ValueError, match="one row per example"):
        build("cka", 3, 3).update(torch.rand(4, 3), torch.rand(5, 3))
    with pytest.raises(ValueError, match="one row per example"):
        build("cosine", 3, 3).update(torch.rand(4, 3), torch.rand(5, 3))


@pytest.mark.parametrize("name", ["cka", "cka_biased", "procrustes", "svcca", "pwcca"])
def test_another_width_than_was_given_is_refused_at_once(name):
    metric = build(name, 8, 8)
    with pytest.raises(ValueError, match=r"expected activations of widths \(8, 8\), got \(9, 8\)"):
        metric.update(torch.rand(6, 9), torch.rand(6, 8))
    with pytest.raises(ValueError, match=r"widths \(8, 8\), got \(8, 3\)"):
        metric.update(torch.rand(6, 8), torch.rand(6, 3))


@pytest.mark.filterwarnings("ignore:The ``compute``")
@pytest.mark.parametrize("name", STREAMS)
def test_nothing_has_no_value(name):
    with pytest.raises(ValueError, match="expected at least 4 rows, got 0"):
        build(name, 3, 3).compute()
