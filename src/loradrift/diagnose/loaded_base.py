"""What an adapter is put into to be diagnosed: a model, its high-level call, and its inside."""

# Shape suffixes: B rows, T tokens, D width.

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.models import Backbone, Classifier

TEXTS = [
    "The committee will publish its report on Friday.",
    "A small boat crossed the lake while it rained.",
    "She could not say why the film was so good.",
    "Prices rose by three percent in the last year.",
]
MAX_TOKENS = 16


@dataclass
class LoadedBase:
    """A model with a place for an adapter; ``model`` changes when PEFT is put around it."""

    kind: str
    """``causal LM``, ``classifier``, ``transformer``, ``run``, ``sentence-transformers``, or, of
    everything else, ``model``."""

    loader: str
    """The library's class for it."""

    model: Any
    inner: str
    """Name of the transformer inside ``model``, where a second path puts the adapter."""

    inputs: dict[str, Tensor]
    """A few rows for the forward pass, by argument; none where texts go in."""

    head: nn.Linear | None = None
    """The head of a run's task."""

    options: dict[str, Any] = field(default_factory=dict)
    """What ``from_pretrained`` needs beside the model's name."""

    @property
    def core(self) -> Any:
        """The model without PEFT around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def transformer(self) -> Any:
        """What stands at :attr:`inner`, with PEFT around it if that is the path."""
        return self.core.get_submodule(self.inner) if self.inner else self.core

    def outputs(self) -> Tensor:
        """One embedding (B, D) for each text, by the high-level call where it gives one."""
        if self.kind == "sentence-transformers":
            return torch.as_tensor(self.core.encode(TEXTS, show_progress_bar=False))
        if self.kind == "model":
            return self.results()
        states = partial(self.model, output_hidden_states=True)
        return self._each(lambda row: states(input_ids=row).hidden_states[-1][:, -1])

    def results(self) -> Tensor:
        """What the model returns first, be it logits or states (B, features)."""
        if self.kind == "sentence-transformers":
            return self.outputs()
        rows = range(len(next(iter(self.inputs.values()))))
        slices = [{key: x[i : i + 1] for key, x in self.inputs.items()} for i in rows]
        # PEFT's own call of an encoder with a decoder passes on what not every one takes
        call = self.core if self.kind == "model" else self.model
        return torch.cat([_first(call(**inputs)) for inputs in slices])

    def called(self) -> Tensor:
        """What ``encode``, ``generate``, or the task's forward gives (B, features)."""
        match self.kind:
            case "sentence-transformers":
                return self.outputs()
            case "run" if self.head is not None:
                classifier = Classifier(Backbone(self.model), self.head.out_features, seed=0)
                classifier.head = self.head
                ids_BT = self.inputs["input_ids"]
                logits_BC: Tensor = classifier.eval()(ids_BT, torch.ones_like(ids_BT))
                return logits_BC
            case "causal LM" | "run":
                return self._each(self._first_generated)
            case _:
                return self.results()

    def everything(self) -> tuple[Tensor, ...]:
        """Outputs of the inside, and of what stands on it, in float64."""
        return self.outputs().double(), self.results().double()

    def by_hand(self) -> Tensor:
        """The same by a forward pass through the adapted transformer itself."""
        if self.kind == "sentence-transformers":
            return self._encoded_by_hand()
        hidden_BD = self._each(lambda row: self.transformer(input_ids=row).last_hidden_state[:, -1])
        head = self.head
        if head is None and self.kind in ("causal LM", "run"):
            head = self.core.get_output_embeddings()
        if self.kind == "classifier":
            head = getattr(self.core, "score", None)
            if head is None:  # a pooler may stand between: its input is compared instead
                return self.called()
        return hidden_BD if head is None else head(hidden_BD)

    def _first_generated(self, row_1T: Tensor) -> Tensor:
        generated = self.model.generate(
            input_ids=row_1T,
            attention_mask=torch.ones_like(row_1T),
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
        logits_1V: Tensor = generated.logits[0]
        return logits_1V

    def _each(self, call: Callable[[Tensor], Tensor]) -> Tensor:
        """Row by row: a classifier without a padding token takes one at a time."""
        return torch.cat([call(row_T[None]) for row_T in self.inputs["input_ids"]])

    def _encoded_by_hand(self) -> Tensor:
        """Tokens, transformer, and every module after it."""
        tokenize = getattr(self.core, "preprocess", None) or self.core.tokenize
        features = dict(tokenize(TEXTS))
        inputs = {key: features[key] for key in ("input_ids", "attention_mask")}
        features["token_embeddings"] = self.transformer(**inputs).last_hidden_state
        for module in list(self.core)[1:]:
            features = module(features)
        embedding_BD: Tensor = features["sentence_embedding"]
        return embedding_BD


def _first(output: Any) -> Tensor:
    """The first numbers of a model's output, of a text those of its last token."""
    numbers = (x for x in output.to_tuple() if isinstance(x, Tensor) and x.is_floating_point())
    first: Tensor = next(numbers)
    return first[:, -1] if first.ndim == 3 else first.flatten(1)
