"""Whether the model that is trained has collapsed, asked at each validation."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from loradrift.collapse import Generations, Verdict, measures, swapped_gap, verdict
from loradrift.models import trainable_parameters
from loradrift.progress import tell
from loradrift.runs import read_diagnostics, write_diagnostics


class Collapsed(Exception):
    """A run was ended because its model had collapsed; ``metrics`` are of that validation."""

    def __init__(self, step: int, found: Verdict, metrics: dict[str, float]) -> None:
        super().__init__(f"collapsed at step {step}, {found.cause}: {'; '.join(found.reasons)}")
        self.step, self.metrics = step, metrics


class CollapseDetector(Callback):
    """Measure what the task answered at a validation, judge it, and write it down.

    The task says it in ``generations`` (:class:`~loradrift.collapse.Generations`). Measures go to
    the loggers as ``collapse/<name>`` and to ``diagnostics.jsonl``, one JSON object for each
    evaluation. An alarm is told, counted and, if asked for, ends the run. Draws nothing, and
    changes nothing.

    Args:
        path: ``diagnostics.jsonl``.
        seed: The run's own, for the file's rows.
        last_step: Rows after this step are dropped: the resumed run computes them again.
        grace_steps: Before this step neither ignored latents nor equal answers are an alarm; both
            together are.
        stop_on_collapse: Whether an alarm ends the run.

    Raises:
        UserError: If the file is damaged.
    """

    def __init__(
        self, path: Path, seed: int, *, last_step: int, grace_steps: float, stop_on_collapse: bool
    ) -> None:
        self.path, self.seed = path, seed
        self.grace_steps, self.stop_on_collapse = grace_steps, stop_on_collapse
        self.rows = [row for row in read_diagnostics(path) if row["step"] <= last_step]
        self._largest: dict[str, Tensor] = {}  # RMS of the gradients since the last evaluation
        self._train: dict[str, float] = {}  # what the task logged last

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Keep the largest gradients of LoRA and of the rest."""
        groups: dict[str, list[Tensor]] = {}
        for name, parameter in trainable_parameters(pl_module).items():
            kind = "lora" if ".lora_" in name else "head"
            if parameter.grad is not None:
                groups.setdefault(kind, []).append(parameter.grad)
        for kind, gradients in groups.items():
            norms = torch.stack(torch._foreach_norm(gradients))
            rms = norms.norm() / math.sqrt(sum(each.numel() for each in gradients))
            before = self._largest.get(kind, rms)
            self._largest[kind] = torch.maximum(rms, before.to(rms.device))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Keep what the task logs of its training."""
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._train |= _below(_numbers(trainer.callback_metrics), "train/")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the validation that has just ended.

        Raises:
            Collapsed: If it has collapsed, and that ends the run; in all processes together.
        """
        said: Generations | None = getattr(pl_module, "generations", None)
        step = trainer.global_step
        metrics = _numbers(trainer.callback_metrics)
        found = Verdict(False, None, ())
        if trainer.is_global_zero and said is not None:
            found = self._judge(trainer, step, said, metrics)
        self._largest.clear()
        found = trainer.strategy.broadcast(found)
        if found.collapsed and self.stop_on_collapse:
            raise Collapsed(step, found, _below(metrics, "validation/", keep=True))

    def _judge(
        self, trainer: Trainer, step: int, said: Generations, metrics: Mapping[str, float]
    ) -> Verdict:
        found = measures(said)
        gap = swapped_gap(said.gold_loss_N, said.swapped_gold_loss_N)
        gradients = {kind: float(rms) for kind, rms in self._largest.items()}
        ratio = said.soft_rms / said.embedding_rms if said.embedding_rms else math.nan
        judged = verdict(found, gradients, ratio, gap, early=step < self.grace_steps)
        numbers = {
            **found._asdict(),
            "swapped_gap": gap.estimate,
            "swapped_gap_low": gap.low,
            "swapped_gap_high": gap.high,
            "rms_ratio": ratio,
            **{f"{kind}_gradient": rms for kind, rms in gradients.items()},
            "alarm": float(judged.collapsed),
        }
        for logger in trainer.loggers:
            logger.log_metrics({f"collapse/{name}": float(x) for name, x in numbers.items()}, step)
        self.rows = [row for row in self.rows if row["step"] < step]
        self.rows.append(
            {
                "seed": self.seed,
                "step": step,
                **_below(metrics, "validation/"),
                "train": dict(self._train),
                "collapse": numbers,
                **judged._asdict(),
                "reasons": list(judged.reasons),
            }
        )
        write_diagnostics(self.path, self.rows)
        if judged.collapsed:
            tell(f"collapse at step {step}, {judged.cause}: {'; '.join(judged.reasons)}")
        return judged

    def figures(self) -> dict[str, Any]:
        """What the run's record keeps; nothing without an evaluation."""
        if not self.rows:
            return {}
        alarms = [row for row in self.rows if row["collapsed"]]
        first = alarms[0] if alarms else dict.fromkeys(("step", "cause", "reasons"))
        return {
            "evaluations": len(self.rows),
            "alarms": len(alarms),
            "causes": dict(Counter(row["cause"] for row in alarms)),
            "first_step": first["step"],
            "cause": first["cause"],
            "reasons": first["reasons"],
        }

    def state_dict(self) -> dict[str, Any]:
        """The gradients since the last evaluation, and what was logged last."""
        largest = {kind: float(rms) for kind, rms in self._largest.items()}
        return {"largest": largest, "train": dict(self._train)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where the interrupted run was."""
        self._train = dict(state_dict["train"])
        self._largest = {kind: torch.tensor(x) for kind, x in state_dict["largest"].items()}


def _numbers(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _below(metrics: Mapping[str, float], prefix: str, *, keep: bool = False) -> dict[str, float]:
    """The metrics whose names begin with ``prefix``, which is taken off unless it is kept."""
    cut = 0 if keep else len(prefix)
    return {name[cut:]: value for name, value in metrics.items() if name.startswith(prefix)}
