"""PEFT adapters side by side on a model, loaded so that no key is lost without a word."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from loradrift.adapters import AdapterFiles, read_files
from loradrift.adapters.adapter_files import WEIGHTS, plain_key
from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.config import UserError
from loradrift.generation.adapter_rules import COPY, check_changes
from loradrift.models.backbone import Backbone
from loradrift.weights import StoredWeights


class PeftAdapters:
    """The adapters of one model, and which rows each of them answers.

    Args:
        backbone: The model, without PEFT at first.
        base: Folder of its weights.
    """

    def __init__(self, backbone: Backbone, base: Path) -> None:
        self.backbone = backbone
        self.base = base
        self.names: dict[str, str] = {}
        """Name -> PEFT's own name, which may hold no dot."""

        self._dora: set[str] = set()
        self._loads = 0

    def load(self, name: str, folder: Path) -> float:
        """Add an adapter; gives the seconds that PEFT took, without those of the checks.

        Raises:
            UserError: If a file is absent or damaged, or is not all applied.
        """
        import peft
        from safetensors.torch import load_file

        files = read_files(folder)
        check_changes(files, StoredWeights(self.base))
        inner = f"adapter_{self._loads}"
        self._loads += 1
        started = perf_counter()
        config = peft.LoraConfig.from_pretrained(str(folder))
        # what is drawn at first is replaced: PiSSA and others would change the base
        config.init_lora_weights, config.inference_mode = True, True
        config.modules_to_save, config.task_type = None, None
        with torch.random.fork_rng():
            if isinstance(self.backbone.lm, peft.PeftModel):
                self.backbone.lm.add_adapter(inner, config)
            else:
                plain = {"adapter_name": inner, "autocast_adapter_dtype": False}
                self.backbone.lm = peft.PeftModel(self.backbone.lm, config, **plain)
        weights = load_file(folder / WEIGHTS)
        peft.set_peft_model_state_dict(self.backbone.lm, weights, adapter_name=inner)
        self._settle()
        seconds = perf_counter() - started
        if problem := self._problem(inner, files):
            self._drop(inner)
            raise UserError(f"adapter {name} ({folder}): {problem}")
        self.names[name] = inner
        if files.config.get("use_dora"):
            self._dora.add(name)
        return seconds

    def unload(self, name: str) -> None:
        """Take an adapter away; UserError if it is unknown."""
        if name not in self.names:
            raise UserError(f"the engine has no adapter {name}")
        self._drop(self.names.pop(name))
        self._dora.discard(name)

    def groups(self, names: Sequence[str | None]) -> list[list[int]]:
        """Rows that PEFT can answer in one batch: all, but with DoRA each adapter's own."""
        if not self._dora & set(names):
            return [list(range(len(names)))]
        rows = dict.fromkeys(names, ())
        return [[row for row, each in enumerate(names) if each == name] for name in rows]

    @contextmanager
    def applied(self, names: Sequence[str | None]) -> Iterator[None]:
        """Answer each row of a batch with the adapter of its name, None with the base model."""
        lm = self.backbone.lm
        if not self.names:
            yield
        elif len(set(names)) > 1:
            inner = ["__base__" if name is None else self.names[name] for name in names]
            # what PeftModel.generate does, once for all tokens
            with lm.base_model._enable_peft_forward_hooks(adapter_names=inner):
                yield
        elif names[0] is None:
            with lm.disable_adapter():
                yield
        else:
            lm.set_adapter(self.names[names[0]])
            yield

    def _settle(self) -> None:
        """Give the new layers the model's device, kind of number and mode."""
        weight = self.backbone.causal_lm.get_output_embeddings().weight
        self.backbone.lm.to(weight.device, weight.dtype).eval().requires_grad_(False)

    def _problem(self, inner: str, files: AdapterFiles) -> str | None:
        """What of the files is not in the model as it is there, in words."""
        import peft

        lm: Any = self.backbone.lm
        held = peft.get_peft_model_state_dict(lm, adapter_name=inner, save_embedding_layers=False)
        live = {plain_key(key): value for key, value in held.items()}
        wanted = {key: x for key, x in files.tensors.items() if not key.endswith(COPY)}
        if lost := sorted(wanted.keys() - live.keys()):
            return f"PEFT finds no place for {len(lost)} of its tensors, {lost[0]} among them"
        if extra := sorted(live.keys() - wanted.keys()):
            return f"its files hold nothing for {len(extra)} tensors, {extra[0]} among them"
        for key, stored in wanted.items():
            value = live[key].cpu()
            if value.shape != stored.shape or not torch.equal(value, stored.to(value.dtype)):
                return f"{key} is not in the model as it is in the file"
        layers = find_lora_layers(self.backbone, inner)
        assert layers is not None
        for module, layer in layers.layers.items():
            if layer.scaling[inner] != files.scale(module):
                return f"PEFT scales {module} by {layer.scaling[inner]}, not {files.scale(module)}"
        return None

    def _drop(self, inner: str) -> None:
        lm = self.backbone.lm
        if others := [name for name in lm.peft_config if name != inner]:
            lm.set_adapter(others[0])  # PEFT warns where the active one is deleted
            lm.delete_adapter(inner)
        else:
            self.backbone.lm = lm.unload()
