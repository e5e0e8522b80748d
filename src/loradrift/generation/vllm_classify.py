"""Classifiers side by side in one vLLM engine: each adapter with a head of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from loradrift.adapters import AdapterFiles, read_files
from loradrift.adapters.adapter_files import WEIGHTS
from loradrift.config import UserError
from loradrift.generation import vllm_rules
from loradrift.generation.base import EngineSettings, Request
from loradrift.generation.vllm_engine import VllmInProcess, started_vllm
from loradrift.weights import StoredWeights


@contextmanager
def open_classifier(
    settings: EngineSettings, labels: Mapping[str, int]
) -> Iterator["VllmClassifier"]:
    """Start vLLM with adapters that have a head: ``score``, a linear map of the last token.

    Args:
        settings: The model, and the adapters as ``benchmark=export`` writes them.
        labels: How many each adapter's head tells apart.

    Raises:
        UserError: If vLLM is not installed, or cannot serve the model or an adapter; says why.
        MemoryError: If there is too little memory.

    Example:
        >>> with open_classifier(settings, {"sst2": 2}) as engine:  # doctest: +SKIP
        ...     engine.classify([Request("0", (1, 40, 41), "sst2")])
        [[-2.6, 2.5]]
    """
    vllm_rules.check_installed()
    vllm_rules.check_model(settings)
    if not settings.adapters:
        raise UserError("a classifier needs an adapter: the base model has no head")
    base = StoredWeights(settings.model)
    ranks = []
    for name, folder in settings.adapters.items():
        factors, found = _without_head(read_files(folder))
        if found != labels[name]:
            raise UserError(
                f"{folder / WEIGHTS}: score must tell {labels[name]} labels apart, got {found}"
            )
        ranks.append(vllm_rules.check_adapter(factors, base))
    with started_vllm(VllmClassifier, settings, ranks, **_pooling(max(labels.values()))) as engine:
        yield engine


def _pooling(labels: int) -> dict[str, Any]:
    """Engine arguments of a classifier.

    ``max_lora_cls_labels`` is the base's own number otherwise, and a larger head ends the engine.
    """
    return {
        "runner": "pooling",
        "convert": "classify",
        "max_lora_cls_labels": labels,
        "pooler_config": {"use_activation": False, "seq_pooling_type": "LAST"},
    }


def _without_head(files: AdapterFiles) -> tuple[AdapterFiles, int]:
    """The adapter without its head, and how many labels that tells apart.

    Raises:
        UserError: If it has none, or one that is no linear map.
    """
    path = files.folder / WEIGHTS
    weight, bias = (files.saved.get(f"score.{part}") for part in ("weight", "bias"))
    if weight is None:
        raise UserError(f"{path} holds no head (score.weight), by which an adapter classifies")
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = [tuple(part.shape) for part in (weight, bias) if part is not None]
        raise UserError(f"{path}: score must be a linear map (labels, width), got {shapes}")
    others = {key: x for key, x in files.saved.items() if key not in ("score.weight", "score.bias")}
    return replace(files, saved=others), len(weight)


class VllmClassifier(VllmInProcess):
    """A transformer in vLLM with a head for each adapter; made by :func:`open_classifier`."""

    def judged(self, files: AdapterFiles) -> AdapterFiles:
        """The files without the head."""
        return _without_head(files)[0]

    def classify(self, requests: Sequence[Request]) -> list[list[float]]:
        """The logits of each request, as many as its adapter has labels.

        Raises:
            UserError: If a request has no adapter, or as :meth:`check` says.
            MemoryError: If the engine runs out of memory.
        """
        from vllm import PoolingParams

        for request in requests:
            if request.adapter is None:
                raise UserError(
                    f"request {request.id} asks the base model for a class: it has no head, and "
                    "vLLM would answer with memory that nobody has written"
                )
        self.check(requests, max_tokens=0)
        params = [PoolingParams(task="classify", use_activation=False) for _ in requests]
        logits: list[list[float]] = [[] for _ in requests]
        for index, output, _ in self.run(requests, params):
            logits[index] = output.outputs.data.tolist()
        return logits
