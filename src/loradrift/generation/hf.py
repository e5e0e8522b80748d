"""Transformers and PEFT as an engine: slower than vLLM, needs neither it nor a GPU."""

# Shape suffixes: B rows of one batch, T tokens, V vocabulary, A tokens of an answer.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from loradrift.config import ModelConfig, UserError
from loradrift.generation.base import Completion, EngineSettings, Request, Sampling
from loradrift.generation.decoding import Answer, decode, inputs_for, left_padded, stop_tokens
from loradrift.generation.errors import one_line_errors, refuse_absent
from loradrift.generation.interventions import check_interventions, intervening
from loradrift.generation.peft_adapters import PeftAdapters
from loradrift.generation.requests import check_requests, request_seed
from loradrift.generation.settings import check_settings
from loradrift.models.backbone import Backbone, load_backbone

LOGITS_BYTES = 512 * 2**20
"""What the logits of one forward pass over whole texts may take."""


@contextmanager
def open_hf(settings: EngineSettings) -> Iterator["HfEngine"]:
    """Load a model and its adapters; ``kv_cache_bytes`` has no meaning here.

    Raises:
        UserError: If the model or an adapter cannot be loaded as it is, there is no GPU, or a
            setting would have no effect.
        MemoryError: If there is too little memory.
    """
    for key in ("max_loras", "max_cpu_loras", "max_lora_rank"):
        if (value := getattr(settings, key)) is not None:
            raise UserError(f"{key} has no effect with engine=hf, got {value}")
    check_settings(settings)
    threads = torch.get_num_threads()
    started = perf_counter()
    try:
        torch.set_num_threads(settings.threads or threads)
        with one_line_errors(f"{settings.model} cannot be loaded"):
            engine = HfEngine(settings)
        for name, folder in settings.adapters.items():
            engine.load_adapter(name, folder)
        engine.start_s = perf_counter() - started
        yield engine
    finally:
        torch.set_num_threads(threads)


def _load(settings: EngineSettings) -> Backbone:
    """The model, with the fast attention where it has one."""
    model = ModelConfig(name="local", path=str(settings.model))
    try:
        return load_backbone(model, seed=settings.seed)
    except UserError as error:
        if "model.attention must be eager" not in str(error):
            raise
    return load_backbone(replace(model, attention="eager"), seed=settings.seed)


class HfEngine:
    """A model of transformers with PEFT's adapters side by side; made by :func:`open_hf`."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.start_s = 0.0
        self.load_s: dict[str, float] = {}
        """Seconds that each adapter took to load."""

        device = "cuda" if settings.accelerator == "gpu" else "cpu"
        self.backbone = _load(settings).eval()
        """The model, which a caller may change while nothing is asked."""

        self.backbone.to(device, getattr(torch, settings.dtype)).requires_grad_(False)
        self._vocabulary = self.backbone.causal_lm.get_input_embeddings().weight.shape[0]
        self._adapters = PeftAdapters(self.backbone, settings.model)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """Answer requests, all in one batch; with DoRA among them, one adapter after another.

        Raises:
            UserError: If an adapter is unknown, a prompt is too long, an intervention does not fit
                the model, or logits are not finite.
            MemoryError: If memory runs out.
        """
        self._check(requests, sampling.max_tokens)
        answers: dict[int, Answer] = {}
        stops = () if sampling.ignore_eos else stop_tokens(self.backbone.causal_lm)
        started = perf_counter()
        for rows in self._groups(requests):
            some = [requests[row] for row in rows]
            prompts = [request.prompt_ids for request in some]
            with self._as_asked(some, prompts):
                given = decode(
                    self.backbone.causal_lm,
                    prompts,
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    seeds=[request_seed(sampling.seed, request) for request in some],
                    stops=stops,
                    started=started,
                )
            answers |= zip(rows, given, strict=True)
        return [
            Completion(
                request.id,
                tuple(answers[row].token_ids),
                tuple(answers[row].times_s),
                request.adapter,
            )
            for row, request in enumerate(requests)
        ]

    def log_likelihoods(self, requests: Sequence[Request]) -> list[float]:
        """Log-likelihood (nats) of each prompt's tokens but the first, given those before it.

        Raises:
            UserError: As :meth:`generate`.
        """
        self._check(requests, 0)
        sums = [0.0] * len(requests)
        for row, logits_TV in self._logits(requests, [r.prompt_ids for r in requests]):
            next_T = torch.tensor(requests[row].prompt_ids[1:], device=logits_TV.device)
            logs_TV = logits_TV[:-1].log_softmax(-1)
            sums[row] = float(logs_TV.gather(1, next_T[:, None]).double().sum())
        return sums

    def answer_log_likelihoods(
        self, requests: Sequence[Request], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Log-likelihood (nats) of each token of an answer, given the prompt and those before it.

        What several answers share with a prompt is read once, and an answer's last token never.

        Args:
            requests: What is asked.
            answers: Token ids of an answer to each, in the same order.

        Raises:
            UserError: As :meth:`generate`.
        """
        self._check(requests, max(map(len, answers), default=0))
        readings: dict[tuple[Request, Sequence[int]], list[int]] = {}
        for row, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            reading = replace(request, id=""), (*request.prompt_ids, *answer[:-1])
            readings.setdefault(reading, []).append(row)
        asked, texts = zip(*readings, strict=True)
        found: list[list[float]] = [[] for _ in requests]
        for number, logits_TV in self._logits(asked, texts):
            logs_AV = logits_TV[len(asked[number].prompt_ids) - 1 :].log_softmax(-1)
            for row in readings[asked[number], texts[number]]:
                given_A1 = torch.tensor(answers[row], device=logs_AV.device).long()[:, None]
                found[row] = logs_AV[: len(given_A1)].gather(1, given_A1).squeeze(1).tolist()
        return found

    def greedy_gaps(
        self, requests: Sequence[Request], completions: Sequence[Completion]
    ) -> list[list[float]]:
        """How far (nats) each token of an answer is below the likeliest one, given what precedes.

        One forward pass over prompt and answer. An answer that the model itself would give has
        gaps of 0; of a tie that fell the other way, they are as small as the rounding.

        Args:
            requests: What was asked, each with the model that should have answered.
            completions: What was answered, in the same order.

        Raises:
            UserError: As :meth:`generate`.
        """
        assert self.settings.dtype == "float32", "gaps of a rounded model say nothing"
        self._check(requests, max((len(each.token_ids) for each in completions), default=0))
        texts = [
            (*request.prompt_ids, *completion.token_ids)
            for request, completion in zip(requests, completions, strict=True)
        ]
        gaps: list[list[float]] = [[] for _ in requests]
        for row, logits_TV in self._logits(requests, texts):
            given_A = torch.tensor(completions[row].token_ids, device=logits_TV.device).long()
            first = len(requests[row].prompt_ids) - 1
            logits_AV = logits_TV[first : first + len(given_A)]
            gap_A = logits_AV.amax(-1) - logits_AV.gather(1, given_A[:, None]).squeeze(1)
            gaps[row] = gap_A.tolist()
        return gaps

    def load_adapter(self, name: str, folder: Path) -> float:
        """Make another adapter known; gives the seconds that PEFT took to load it.

        Raises:
            UserError: If the name is taken, or the adapter is not all applied.
        """
        if name in self._adapters.names:
            raise UserError(f"the engine has an adapter {name} already; unload it first")
        refuse_absent(name, folder)
        with one_line_errors(f"adapter {name} ({folder})"):
            self.load_s[name] = self._adapters.load(name, folder)
        return self.load_s[name]

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; UserError if it is unknown."""
        self._adapters.unload(name)

    def _check(self, requests: Sequence[Request], max_tokens: int) -> None:
        check_requests(
            requests,
            self.settings,
            self._adapters.names,
            vocabulary=self._vocabulary,
            max_tokens=max_tokens,
        )
        check_interventions(requests, self.backbone)

    def _groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return self._adapters.groups([request.adapter for request in requests])

    @contextmanager
    def _as_asked(
        self, requests: Sequence[Request], texts: Sequence[Sequence[int]]
    ) -> Iterator[None]:
        """Each row of a batch with its own adapter and interventions, for one reading of texts."""
        applied = self._adapters.applied([request.adapter for request in requests])
        changed = intervening(requests, texts, self.backbone)
        with one_line_errors("engine=hf failed"), applied, changed:
            yield

    @torch.inference_mode()
    def _logits(
        self, requests: Sequence[Request], texts: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Tensor]]:
        """A row, and the fp32 logits (T, V) after each of its text's tokens."""
        lm = self.backbone.causal_lm
        for group in self._groups(requests):
            row_bytes = (
                4 * lm.config.get_text_config().vocab_size * max(len(texts[i]) for i in group)
            )
            together = max(1, LOGITS_BYTES // row_bytes)
            for first in range(0, len(group), together):
                rows = group[first : first + together]
                some = [texts[row] for row in rows]
                with self._as_asked([requests[row] for row in rows], some):
                    padded = left_padded(some, lm.device)
                    logits_BTV = lm(**inputs_for(lm, *padded), use_cache=False).logits
                for row, logits_TV in zip(rows, logits_BTV, strict=True):
                    yield row, logits_TV[-len(texts[row]) :].float()
