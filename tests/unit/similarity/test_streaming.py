"""Any split of the rows gives the value of all of them."""

import json

import pytest
import torch

from loradrift.similarity import MEASURES, metrics, streaming
from loradrift.similarity.functional import sufficient_stats
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


@pytest.mark.parametrize("single", [0, 300, 10_000])
def test_wide_rows_in_float32_and_then_float64(single, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 100)
    monkeypatch.setattr(sufficient_stats, "SINGLE", single)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(700, 530, generator=generator)
    y = x + 0.3 * torch.randn(700, 520, generator=generator)[:, [*range(520), *range(10)]]
    metric = metrics.CKA(530, 530)
    for rows in zip(x.split(90), y.split(90), strict=True):
        metric.update(*rows)
    assert metric.compute().item() == pytest.approx(reference("cka", x, y), rel=1e-6)
    assert metric.xx_xy.dtype == (torch.float32 if single == 10_000 else torch.float64)


def process(rank, rendezvous, results):
    """What one of four processes sees; the last sees nothing, and float32 sums meet float64."""
    torch.set_num_threads(1)  # a forked process must not use its parent's threads
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=4
    )
    streaming.CHUNK, sufficient_stats.SINGLE, sufficient_stats.NARROW = 30, 60, 4
    values = {}
    for name, kind in STREAMS.items():
        x, y = pair(name)
        bounds = (0, 70, 110, 150, 150)
        if not issubclass(kind, streaming.SummedRows):
            bounds = (0, 70, 110, 140, 150)  # all rows are gathered: each process needs some
        metric = build(name, x.shape[1], y.shape[1])
        mine = slice(*bounds[rank : rank + 2])
        for rows in zip(x[mine].split(16), y[mine].split(16), strict=True):
            if len(rows[0]):
                metric.update(*rows)
        values[name] = metric.compute().item()
    (results / f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


def test_processes_are_gathered(tmp_path):
    args = tmp_path / "rendezvous", tmp_path
    torch.multiprocessing.start_processes(process, args, 4, start_method="fork")
    for rank in range(4):
        values = json.loads((tmp_path / f"{rank}.json").read_text())
        one_shot = {name: MEASURES[name](*pair(name)) for name in STREAMS}
        assert values == pytest.approx(one_shot, rel=1e-6)


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
