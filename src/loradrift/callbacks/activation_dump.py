"""Record activations while training, without disturbing the training."""

from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from loradrift.activations import (
    ActivationStore,
    Encoder,
    Pooling,
    Probe,
    StoreError,
    capture_probe,
    row_sample,
    stream_probe,
)
from loradrift.callbacks.online_drift import OnlineDrift
from loradrift.config import check
from loradrift.progress import announced


class ActivationDump(Callback):
    """Store the pooled block outputs of a probe every ``every_n_steps`` optimizer steps.

    Step 0 and the last step are always among them. Step 0 comes before any update: it is the base
    model, the origin that drift is measured from. The module must have a ``backbone`` that is an
    :class:`~loradrift.activations.Encoder`; it is called directly, never through the wrapper of a
    distributed strategy, and only global rank zero keeps what comes out.

    Args:
        store: Where the activations go; closed when training ends. None keeps none of them.
        probe: The same rows for every run, so that runs are aligned across seeds and methods.
        every_n_steps: Interval in optimizer steps.
        pooling: How the tokens of the probe become rows. Those of ``tokens`` are written as they
            come, and online drift measures a sample of them.
        online: Measures drift at each dump; its numbers go to the trainer's loggers.
        sharded: Whether it takes all processes to compute; otherwise rank zero does it alone.

    Raises:
        UserError: If ``every_n_steps`` is not positive.
    """

    def __init__(
        self,
        store: ActivationStore | None,
        probe: Probe,
        every_n_steps: int,
        pooling: Pooling,
        online: OnlineDrift | None = None,
        *,
        sharded: bool = False,
    ) -> None:
        key = "callbacks.activation_dump.every_n_steps"
        check(every_n_steps > 0, key, "positive", every_n_steps)
        self.store = store
        self.probe = probe
        self.every_n_steps = every_n_steps
        self.pooling = pooling
        self.online = online
        self.sharded = sharded
        self._last_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the store and dump step 0, or the step that training resumes from if it is due.

        Its file may be missing: the process may have died between checkpoint and dump.
        """
        if trainer.is_global_zero and self.store:
            blocks = cast(Encoder, pl_module.backbone).blocks
            layer_names = [f"layer_{index}" for index in range(len(blocks))]
            self.store.prepare(self.probe, self.pooling, layer_names)
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Dump on the interval."""
        if trainer.global_step % self.every_n_steps == 0:
            self._dump(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have every dump on disk before a checkpoint is: a resumed run does not go behind it."""
        if self.store:
            self.store.flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Dump the last step and close the store."""
        self._dump(trainer, pl_module)
        if self.store:
            self.store.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save what is queued; a store that fails as well only adds a note to the exception."""
        try:
            if self.store:
                self.store.close()
        except StoreError as error:
            exception.add_note(str(error))

    def _dump(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # With gradient accumulation several micro-batches end on the same optimizer step.
        idle = not trainer.is_global_zero and not self.sharded
        if idle or trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        what = f"dumping the probe at step {trainer.global_step}"
        with trainer.precision_plugin.forward_context(), announced(what, has_bar=True):
            capture = self._stream if self.pooling.name == "tokens" else self._capture
            layers = capture(pl_module, keep=trainer.is_global_zero)
        if self.online and trainer.is_global_zero:
            drifts = self.online.observe(self._last_step, layers)
            for logger in trainer.loggers:
                logger.log_metrics(drifts, self._last_step)

    def _capture(self, module: LightningModule, *, keep: bool) -> dict[str, Tensor]:
        """Store one row for each example, and return them."""
        backbone = cast(nn.Module, module.backbone)
        layers, bos_LD = capture_probe(backbone, self.probe, self.pooling, module.device)
        if self.store and keep:
            self.store.write(self._last_step, layers, bos_LD)
        return layers

    def _stream(self, module: LightningModule, *, keep: bool) -> dict[str, Tensor]:
        """Store token rows as they come; what is held and returned is a sample for online drift."""
        backbone = cast(nn.Module, module.backbone)
        num_rows = self.pooling.num_rows(self.probe)
        sample_N = torch.zeros(num_rows, dtype=torch.bool, device=module.device)
        sample_N[row_sample(num_rows).to(module.device)] = True
        seen: Counter[str] = Counter()
        sampled: dict[str, list[Tensor]] = defaultdict(list)
        with ExitStack() as stack:
            write = None
            if self.store and keep:
                write = stack.enter_context(self.store.writing(self._last_step, num_rows))

            def receive(index: int, rows_KD: Tensor) -> None:
                name = f"layer_{index}"
                if write:
                    write(name, rows_KD)
                if self.online and keep:
                    flags_K = sample_N[seen[name] : seen[name] + len(rows_KD)]
                    sampled[name].append(rows_KD[flags_K].cpu())
                    seen[name] += len(rows_KD)

            stream_probe(backbone, self.probe, self.pooling, module.device, receive)
        return {name: torch.cat(parts) for name, parts in sampled.items()}

    def state_dict(self) -> dict[str, Any]:
        """What online drift needs to go on."""
        return self.online.state_dict() if self.online else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on measuring against the same origin."""
        if self.online:
            self.online.load_state_dict(state_dict)
