"""Any split of the rows gives the value of all of them."""

import json

import pytest
import torch
from cases import noisy
from torch import Tensor
from torchmetrics import Metric

from loradrift.similarity import MEASURES, streaming
from loradrift.similarity.functional import sufficient_stats
from loradrift.similarity.metrics import METRICS
from loradrift.similarity.reference import reference


def build(name: str, d: int, e: int) -> Metric:
    kind = METRICS[name]
    return kind(d, e) if issubclass(kind, streaming.SummedRows) else kind()


def fed(name: str, x: Tensor, y: Tensor, batch_size: int | list[int]) -> Metric:
    metric = build(name, x.shape[1], y.shape[1])
    for rows in zip(x.split(batch_size), y.split(batch_size), strict=True):
        metric.update(*rows)
    return metric


def pair(name, *, mean=0.0):
    x, y = noisy(150, 9, 1)
    x[:, 2] *= 30
    return x + mean, (y if MEASURES[name].equal_widths else y[:, :7]) - mean


@pytest.mark.parametrize("mean", [0.0, 1000.0])  # a thousand times the spread
@pytest.mark.parametrize("batch_size", [1, 7, 64, 150])
@pytest.mark.parametrize("name", MEASURES)
def test_function_metric_and_merged_metrics_agree(name, batch_size, mean, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 50)
    x, y = pair(name, mean=mean)
    value = MEASURES[name](x, y)
    assert value == pytest.approx(reference(name, x, y), abs=1e-5)
    assert fed(name, x, y, batch_size).compute().item() == pytest.approx(value, rel=1e-6)
    # the parts are unequal, and are merged into a metric that has seen nothing
    merged = build(name, x.shape[1], y.shape[1])
    for part in (slice(37), slice(37, None)):
        merged.merge_state(fed(name, x[part], y[part], batch_size))
    assert merged.compute().item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("first", [1, 4, 700])
@pytest.mark.parametrize("size", [1, 100, 1000])
def test_a_massive_first_row_in_any_split_of_wide_rows(first, size, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 1)  # each batch is reduced by itself
    x, y = noisy(700, 530, 0.3)  # wide enough for float32 products
    x[0] *= size
    y[0] *= size
    metric = fed("cka", x, y, [first, 700 - first] if first < 700 else 700)
    assert metric.compute().item() == pytest.approx(reference("cka", x, y), rel=1e-6)


@pytest.mark.parametrize("single", [0, 300, 10_000])
def test_wide_rows_in_float32_and_then_float64(single, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 100)
    monkeypatch.setattr(sufficient_stats, "SINGLE", single)
    x, y = noisy(700, 530, 0.3)
    y[:, 520:] += 0.3 * (y - x)[:, :10]  # noise that columns share
    metric = fed("cka", x, y, 90)
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
    for name, kind in METRICS.items():
        # where all rows are gathered, each process needs some
        third = 150 if issubclass(kind, streaming.SummedRows) else 140
        mine = slice(*(0, 70, 110, third, 150)[rank : rank + 2])
        x, y = (side[mine] for side in pair(name))
        metric = fed(name, x, y, 16) if len(x) else build(name, x.shape[1], y.shape[1])
        values[name] = metric.compute().item()
    (results / f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


def test_processes_are_gathered(tmp_path):
    args = tmp_path / "rendezvous", tmp_path
    torch.multiprocessing.start_processes(process, args, 4, start_method="fork")
    for rank in range(4):
        values = json.loads((tmp_path / f"{rank}.json").read_text())
        one_shot = {name: MEASURES[name](*pair(name)) for name in METRICS}
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


@pytest.mark.filterwarnings("ignore:The ``compute``")
def test_misaligned_batches_another_width_another_kind_of_metric_and_no_batch_are_refused():
    for name in ("cka", "cosine"):
        with pytest.raises(ValueError, match="one row per example"):
            build(name, 3, 3).update(torch.rand(4, 3), torch.rand(5, 3))
    with pytest.raises(TypeError, match="expected a CKA, got Procrustes"):
        build("cka", 9, 7).merge_state(build("procrustes", 9, 7))
    for name in METRICS:
        with pytest.raises(ValueError, match="expected at least 4 rows, got 0"):
            build(name, 3, 3).compute()
    for name in ("cka", "cka_biased", "procrustes", "svcca", "pwcca"):
        metric = build(name, 8, 8)
        with pytest.raises(
            ValueError, match=r"expected activations of widths \(8, 8\), got \(9, 8\)"
        ):
            metric.update(torch.rand(6, 9), torch.rand(6, 8))
        with pytest.raises(ValueError, match=r"widths \(8, 8\), got \(8, 3\)"):
            metric.update(torch.rand(6, 8), torch.rand(6, 3))
