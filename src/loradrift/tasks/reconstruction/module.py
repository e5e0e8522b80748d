"""A language model that answers from a compressed context."""

# Shape suffixes: B rows, N answer tokens, M latents, D width, V vocabulary.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from loradrift.config import LoraConfig, OptimConfig
from loradrift.data import Batch, EvaluationBatches, Rows, Share
from loradrift.models import trainable_parameters
from loradrift.models.soft_prompt import SoftPrompt, SoftPromptModel
from loradrift.models.soft_prompt.adapting import adapt_encoder
from loradrift.models.soft_prompt.model import answer_logits, answer_tokens
from loradrift.tasks.base import Task, first_rows
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.reconstruction.answering import Answerer
from loradrift.tasks.reconstruction.config import ReconstructionConfig
from loradrift.tasks.reconstruction.evaluation import (
    Reader,
    RowAnswer,
    answer_rows,
    figures_of,
    generations_of,
    prediction_line,
    row_scores,
    size_lines,
    sizes_of,
)
from loradrift.tasks.reconstruction.ladder import (
    RungRow,
    base_rungs,
    flag_lines,
    ladder_files,
    own_rungs,
)
from loradrift.tasks.reconstruction.losses import (
    distillation_losses,
    reconstruction_loss,
    token_losses,
)
from loradrift.tasks.reconstruction.teacher import Teacher, load_teacher

if TYPE_CHECKING:
    from loradrift.collapse import Generations
    from loradrift.data.reconstruction import EncodedContexts
    from loradrift.tasks.reconstruction.evaluation import RowScore


class ReconstructionTask(Task):
    """Losses of soft prompts from one teacher-forced pass; greedy answers for validation and test.

    Args:
        model: Backbone and fitted head.
        config: Settings.
        optim: Of the optimizer.
        data: Tokenizer, and the rows that a teacher reads.
        total_steps: Of the run.
    """

    def __init__(
        self,
        model: SoftPromptModel,
        config: ReconstructionConfig,
        optim: OptimConfig,
        data: PreparedData,
        total_steps: int = 1,
    ) -> None:
        super().__init__(model, optim, total_steps)
        self.config = config
        self.data = data
        self.teacher: Teacher | None = None
        self.answerer = Answerer(model.backbone, data.tokenizer, config.max_answer_tokens)
        self.generations: Generations | None = None
        """What the last validation generated."""

        self.grad_norms: dict[str, float] = {}
        """``<loss>/<lora|head>`` -> norm of the weighted loss's gradient, when last measured."""

        self.rungs: dict[str, list[RungRow]] = {}
        """What was answered on each rung of the ladder: the base model's, then the last test's."""

        self._scores: list[RowScore] = []
        self._answers: dict[int, RowAnswer] = {}  # of the last test, by row

    @property
    def soft_model(self) -> SoftPromptModel:
        """The model."""
        return cast(SoftPromptModel, self.model)

    def setup(self, stage: str) -> None:
        """Ask the base model, before a checkpoint of an interrupted run is loaded."""
        if stage != "fit":
            return
        self.backbone.to(self.trainer.strategy.root_device)
        with self.trainer.precision_plugin.forward_context():
            asked = self.config.batch_size, str(self.trainer.precision)
            self.rungs = base_rungs(self.answerer, self.soft_model.head.sizes, self.data, *asked)
            if self.config.kd_weight:
                tokens = self.config.ce_tokens
                self.teacher = load_teacher(self.backbone, self.data, tokens, *asked)

    def adapt_head(self, method: LoraConfig, seed: int) -> None:
        """Put LoRA on the encoder, if it is to be adapted."""
        if self.config.adapt != "decoder":
            adapt_encoder(self.soft_model.head, method, seed=seed)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Each loss whose weight is not 0, before it is weighted."""
        soft = self.soft_model.soft_prompt(batch)
        weights, found = self.config.weights, dict[str, Tensor]()
        if weights["reconstruction"]:
            found["reconstruction"] = reconstruction_loss(soft.soft_BMD, soft.target_BMD)
        if any(weights[name] for name in weights.keys() - {"reconstruction"}):
            found |= self._answer_losses(batch, soft)
        return found

    def _answer_losses(self, batch: Batch, soft: SoftPrompt) -> dict[str, Tensor]:
        weights, most = self.config.weights, self.config.ce_tokens
        more = weights["k_token"] or weights["kd"]
        joined = self.soft_model.student_embeds(batch, soft.soft_BMD)
        tokens = answer_tokens(batch, most if more else 1)
        logits_NV = answer_logits(self.backbone, joined, tokens)
        losses_N = token_losses(logits_NV, tokens.ids_N)
        found = {}
        if weights["first_token"]:
            found["first_token"] = losses_N[tokens.steps_N == 0].mean()
        if weights["k_token"]:
            found["k_token"] = losses_N.mean()
        if weights["kd"]:
            assert self.teacher is not None, "the teacher is asked before training"
            taught = self.teacher.of(batch, tokens)
            found["kd"] = distillation_losses(logits_NV, *taught).mean()
        return found

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum."""
        return self._weighted(self.losses(batch))

    def _weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        terms = [self.config.weights[name] * value for name, value in losses.items()]
        return torch.stack(terms).sum()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch; where steps are logged, each loss and its gradient's norms."""
        losses = self.losses(batch)
        loss = self._weighted(losses)
        self.log_training(loss, batch_idx)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        last = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
        if last and (self.global_step + 1) % every == 0:
            self.grad_norms = self._gradients(losses)
            values = {f"train/loss_{name}": value.detach() for name, value in losses.items()}
            norms = {f"train/grad/{name}": value for name, value in self.grad_norms.items()}
            self.log_dict({**values, **norms}, sync_dist=True)  # the step is logged with the loss
        return loss

    def _gradients(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """The norm of each weighted loss's gradient on what trains, by group."""
        named = trainable_parameters(self.model)
        parameters = [*named.values()]
        groups = [_group(name) for name in named]
        norms = dict[str, float]()
        for loss, value in losses.items():
            weighted = self.config.weights[loss] * value
            squares = dict.fromkeys(groups, 0.0)
            grads: Sequence[Tensor | None] = [None] * len(named)
            if weighted.requires_grad:  # else the guard says which parameters get none
                grads = torch.autograd.grad(
                    weighted, parameters, retain_graph=True, allow_unused=True
                )
            for group, grad in zip(groups, grads, strict=True):
                squares[group] += 0.0 if grad is None else float(grad.float().square().sum())
            norms |= {f"{loss}/{group}": value**0.5 for group, value in squares.items()}
        return norms

    def observe(self, batch: Batch) -> None:
        """Keep what one teacher-forced pass says of the gold answers."""
        soft = self.soft_model.soft_prompt(batch)
        joined = self.soft_model.student_embeds(batch, soft.soft_BMD)
        gold = self.answerer.score_gold(joined, batch)
        self._scores += row_scores(batch, gold, soft)

    def figures(self, split: str) -> dict[str, float]:
        """The figures of all rows that were observed, and of the answers to some or all of them."""
        testing = split == "evaluation"
        loader = self.trainer.test_dataloaders if testing else self.trainer.val_dataloaders
        batches = cast(EvaluationBatches, loader)
        most = None if testing else self.config.generated_rows
        reader = Reader(self.soft_model, self.answerer)
        share = Share(self.global_rank, self.trainer.world_size)
        with self.trainer.precision_plugin.forward_context():
            answers = answer_rows(reader, batches, most, share)
            if testing:
                self.rungs |= own_rungs(reader, batches, answers, share)
        if testing:
            self._answers = answers
        else:
            self.generations = generations_of(answers, self.soft_model.head)
        figures = figures_of(self._scores, answers)
        self._scores.clear()
        if testing:
            table = cast("EncodedContexts", batches.table)
            sizes = sizes_of(table, self.soft_model.head)
            figures |= sizes._asdict()
            self.notices = [*size_lines(sizes), *flag_lines(table, self.rungs)]
        return figures

    def certified(self, data: PreparedData) -> Tensor:
        """Final states of a few rows with soft prompts."""
        batch = {name: value.to(self.device) for name, value in first_rows(data).items()}
        soft = self.soft_model.soft_prompt(batch)
        joined = self.soft_model.student_embeds(batch, soft.soft_BMD)
        return self.backbone.encode(embeds=joined.embeds_BLD)

    def predictions(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """Each question with its gold answers and the answer given."""
        table = cast("EncodedContexts", rows)
        for index, row in enumerate(table.rows):
            yield prediction_line(row, self._answers[index])

    def prediction_files(self, rows: Rows) -> dict[str, Any]:
        """The ladder: every row of every rung, what they say, and some texts."""
        return ladder_files(cast("EncodedContexts", rows), self.rungs)

    def train_accuracy(self, figures: Mapping[str, float]) -> float:
        """The share of rows that are answered exactly."""
        return figures["validation/text_em"] / 100


def _group(name: str) -> str:
    """``lora``, ``head`` or ``backbone``: what a parameter is of."""
    if "lora_" in name:
        return "lora"
    return "head" if name.startswith("head.") else "backbone"
