"""The last bit of each weight that trains moves once, and of nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from dumping import CountingStore, Crash, Reseed, Task, fit
from probing import assert_equal, captured, small_backbone
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from loradrift.activations import Pooling
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.callbacks.resume_point import ResumePoint, StopRequested
from loradrift.callbacks.rounding import Rounding, move_last_bits


def moved(method="full_finetune", draw=0):
    backbone = small_backbone(method)
    move_last_bits(backbone, torch.Generator().manual_seed(draw))
    return backbone


def steps(after, before):
    """How many floating-point numbers each weight went, counted in its bits."""
    return after.detach().view(torch.int32) - before.detach().view(torch.int32)


@pytest.mark.parametrize("method", ["full_finetune", "lora"])
def test_each_weight_that_trains_goes_one_number_up_or_down(method):
    before, after = small_backbone(method), moved(method)
    ups = []
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        zero = old == 0
        if not old.requires_grad or zero.all():  # frozen, or LoRA's B
            assert torch.equal(new, old), name
        else:
            went = steps(new, old)
            assert (went[~zero].abs() == 1).all() and not went[zero].any(), name
            ups.append((new > old)[~zero].float().flatten())
    share = torch.cat(ups)
    assert abs(share.mean() - 0.5) < 5 * 0.5 / len(share) ** 0.5


def test_a_zero_of_any_sign_stays_zero():
    layer = torch.nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.0, -0.0, 1.0, -3.0]])
    move_last_bits(layer, torch.Generator().manual_seed(0))
    assert (layer.weight[0, :2] == 0).all() and (layer.weight[0, 2:] != torch.tensor([1, -3])).all()


def test_the_draw_is_the_seeds_and_the_numbers_own(tmp_path):
    def trained(*callbacks):
        return fit(Task(), tmp_path, [Reseed(), *callbacks]).state_dict()

    plain, one = trained(), trained(Rounding(7, 1))
    assert_equal(trained(Rounding(7, 1)), one)
    for other in (plain, trained(Rounding(7, 2)), trained(Rounding(8, 1))):
        assert any(not torch.equal(one[name], other[name]) for name in one)
    for name, value in one.items():  # and yet it is the same training
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-3)


def test_step_0_is_the_base_model_and_other_steps_are_not(tmp_path, probe, root):
    def dumped(folder, *callbacks):
        dump = ActivationDump(CountingStore(folder), probe, 1, Pooling())
        fit(Task(), tmp_path, [Reseed(), dump, *callbacks])
        return dump.store

    nudged, plain = dumped(root, Rounding(7, 1)), dumped(tmp_path / "plain")
    assert_equal(nudged.read(0), captured(Task().backbone, probe))
    assert_equal(nudged.read(0), plain.read(0))
    assert not torch.equal(nudged.read(5)["layer_1"], plain.read(5)["layer_1"])


class Stop(ResumePoint):
    """Is asked to stop before the first step."""

    def on_train_start(self, trainer, pl_module):
        super().on_train_start(trainer, pl_module)
        self._asked_at = 0.0


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_moves_them_once(tmp_path, step, accumulate):
    def trained(*callbacks, **options):
        each = [Reseed(), *callbacks, Rounding(7, 1)]
        return fit(Task(), tmp_path, each, accumulate=accumulate, **options).state_dict()

    path = tmp_path / "last.ckpt"
    whole = trained()
    if step:
        with pytest.raises(KeyError, match="the power went"):
            trained(ResumePoint(path, 1), Crash(step))
    else:
        with pytest.raises(StopRequested):
            trained(Stop(path, 1))
    assert torch.load(path, weights_only=True)["global_step"] == step
    assert_equal(trained(ckpt_path=path), whole)


@contextmanager
def alone(tmp_path) -> Iterator[None]:
    """A group of one process."""
    store = dist.FileStore(str(tmp_path / "group"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def test_sharded_weights_move_as_whole_ones_even_after_an_evaluation(tmp_path):
    ids_BT = torch.arange(6)[None]
    expected = moved().eval()
    with alone(tmp_path):
        backbone = small_backbone("full_finetune").eval()
        mesh = init_device_mesh("cpu", (1,))
        for block in backbone.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(backbone, mesh=mesh)
        register_fsdp_forward_method(backbone, "encode")
        with torch.no_grad():
            base_BTD = backbone.encode(ids_BT)
            move_last_bits(backbone, torch.Generator().manual_seed(0))
            after_BTD = backbone.encode(ids_BT)
            assert torch.equal(after_BTD, expected.encode(ids_BT))
        assert not torch.equal(after_BTD, base_BTD)
        for each in backbone.modules():
            if hasattr(each, "reshard"):
                each.reshard()
        pairs = zip(backbone.parameters(), expected.parameters(), strict=True)
        assert all(torch.equal(sharded.full_tensor(), whole) for sharded, whole in pairs)
