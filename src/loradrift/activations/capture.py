"""Read a model's residual stream with forward hooks, and leave the model as it was found."""

# Shape suffixes: B rows of one batch, T tokens, D width, N pooled rows, L layers.

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from loradrift.activations.pooling import Pooling
from loradrift.activations.probe import Probe
from loradrift.models.hooks import block_outputs, eval_mode


class Encoder(Protocol):
    """What a backbone must offer to be captured."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks in order; each returns ``(B, T, D)`` or a tuple led by it."""

    def encode(self, input_ids: Tensor) -> Tensor:
        """Run all blocks once on right-padded ids ``(B, T)``; gives ``(B, T, D)``."""


class Captured(NamedTuple):
    """What one pass over a probe leaves."""

    layers: dict[str, Tensor]
    """``layer_0`` ... ``layer_{L-1}``, each float32 ``(N, D)`` on the CPU: the residual stream
    after each block, before the final norm."""

    bos_LD: Tensor | None
    """The beginning-of-sequence token's activation after each block, float32 on the CPU. Attention
    is causal, so it is the same in every row. None without such a token, or if pooling is not
    ``mean``."""


def stream_probe(
    backbone: nn.Module,
    probe: Probe,
    pooling: Pooling,
    device: torch.device,
    receive: Callable[[int, Tensor], None],
) -> Tensor | None:
    """Hand each block's pooled rows of each batch to ``receive`` the moment they are computed.

    Everything else is as for :func:`capture_probe`; no more than one stream is held.

    Args:
        backbone: An :class:`Encoder`.
        probe: The rows.
        pooling: How their tokens become rows.
        device: Where the backbone is; the probe's batches are moved there one by one.
        receive: Takes a block's number and its next rows ``(K, D)``, on ``device``.

    Returns:
        :attr:`Captured.bos_LD`.

    Raises:
        RuntimeError: If a block does not run exactly once for each batch.
        ValueError: If the probe holds nothing to pool.
    """
    encoder = cast(Encoder, backbone)
    runs = [0 for _ in encoder.blocks]
    bos: dict[int, Tensor] = {}
    keep_bos = pooling.name == "mean" and probe.bos_id is not None
    batches = zip(probe.batches, pooling.masks(probe), strict=True)
    generators = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with eval_mode(backbone), generators, torch.inference_mode():
        for number, (batch, mask) in enumerate(batches, start=1):
            mask_BT = mask.to(device)

            def pool(index: int, x_BTD: Tensor, mask_BT: Tensor = mask_BT) -> None:
                runs[index] += 1
                receive(index, pooling(x_BTD, mask_BT))
                if keep_bos and index not in bos:
                    bos[index] = x_BTD[0, 0].float().clone()  # a view would hold the whole stream

            with block_outputs(encoder.blocks, pool):
                encoder.encode(batch["input_ids"].to(device))
            for index, done in enumerate(runs):
                if done != number:
                    got = f"got {done - number + 1} runs"
                    raise RuntimeError(f"layer_{index} must run once in a forward pass, {got}")
    # Outside inference mode, so that the caller gets ordinary tensors.
    return torch.stack([bos[index] for index in range(len(runs))]).cpu() if keep_bos else None


def capture_probe(
    backbone: nn.Module, probe: Probe, pooling: Pooling, device: torch.device
) -> Captured:
    """Pooled output of every block on the probe, in eval mode and under inference mode.

    Modes, hooks, gradients and the random state of the CPU and of ``device`` are afterwards what
    they were. Arguments and errors are those of :func:`stream_probe`.
    """
    pooled: list[list[Tensor]] = [[] for _ in cast(Encoder, backbone).blocks]
    bos_LD = stream_probe(
        backbone, probe, pooling, device, lambda index, rows_KD: pooled[index].append(rows_KD)
    )
    layers = {f"layer_{index}": torch.cat(parts).cpu() for index, parts in enumerate(pooled)}
    return Captured(layers, bos_LD)
