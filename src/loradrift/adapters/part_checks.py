"""All that an adapter trained, be it no factor: is it in the files, in memory, and in use?"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import FACTOR, ROWS, WEIGHTS, AdapterFiles, plain_key
from loradrift.adapters.base_checks import NOT_FINITE, Read, alike
from loradrift.adapters.check_result import Finding, Findings, fails, holds, some
from loradrift.adapters.file_checks import head_lost
from loradrift.adapters.lora_layers import Claim, LoraLayers, embed_scale
from loradrift.adapters.row_checks import rows_lost, trained_rows
from loradrift.models.hooks import Hook

UNTRAINED = "all zeros, not trained or not saved"

INNER = (".original_module.", ".modules_to_save.")
"""Where PEFT, by ``bias=all``, saves the bias of a saved module once more."""


class LiveParts:
    """What PEFT would save of an adapter now, and every other tensor of the model."""

    def __init__(self, lora_layers: LoraLayers) -> None:
        from peft import get_peft_model_state_dict

        model, adapter = lora_layers.holder, lora_layers.adapter
        own = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
        self.own = {plain_key(key): x for key, x in own.items()}
        """By the names that the files give them."""

        self.all = {plain_key(key): x for key, x in model.state_dict().items()} | self.own

    def lost(self, files: AdapterFiles) -> list[str]:
        """What PEFT would save beside the factors, and the files lack."""
        return [
            key
            for key in self.own.keys() - files.saved.keys()
            if not FACTOR.fullmatch(key) and not any(part in key for part in INNER)
        ]


def check_lost(files: AdapterFiles, lora_layers: LoraLayers, live: LiveParts) -> Findings:
    """Name what is trained beside the factors and not in the files; empty where all is there."""
    lost = live.lost(files)
    if any(key.endswith(ROWS) for key in lost):
        return {"keys": rows_lost()}
    for name in lora_layers.wrappers:
        for key in sorted(lost):
            if key.startswith(f"{name}."):
                return {"head": head_lost(name, key, files.saved)}
    if lost:
        biases = sum("bias" in key for key in live.own if not FACTOR.fullmatch(key))
        what = f"{WEIGHTS} has lost {len(lost)} of {biases} biases, {some(lost)}"
        why = f"which bias={files.config.get('bias')} of {CONFIG} trains; the base's stand there"
        return {"keys": fails(f"{what}, {why}", lacking=len(lost))}
    return {}


def check_saved(claim: Claim, live: LiveParts, products: Iterable[str] = ()) -> Findings:
    """Compare each tensor in memory with the file's, but the factors of modules in ``products``."""
    files, wrappers = claim.files, claim.lora_layers.wrappers
    compared = {
        f"{name}.{part}"
        for name in products
        for part in files.parts[name]
        if part[-2:] in ("_A", "_B")
    }
    for key, stored in files.tensors.items():
        value = live.all.get(key)
        if key in compared or value is None:
            continue  # what has no place in the model is the business of the keys
        name = "head" if _is_in(key, wrappers) and not key.endswith(ROWS) else "weights"
        if value.shape != stored.shape:
            shapes = f"{tuple(value.shape)} in memory, and {tuple(stored.shape)} in {WEIGHTS}"
            return {name: fails(f"{key} has shape {shapes}")}
        if gap := difference(value, stored):
            return {name: fails(not_the_files(key, gap))}
    return _check_tokens(claim)


def _check_tokens(claim: Claim) -> Findings:
    """The trained rows stand in for those of the tokens that the configuration names."""
    wrappers, adapter = claim.lora_layers.wrappers, claim.lora_layers.adapter
    for name, wanted, _ in trained_rows(claim.files):
        tokens = getattr(wrappers.get(name), "token_adapter", None)
        if tokens is not None and (live := list(tokens.token_indices[adapter])) != list(wanted):
            what = f"{name} in memory has the rows of tokens {live}"
            stored = f"trainable_token_indices of {CONFIG} names {wanted}"
            return {"weights": fails(f"{what}, and {stored}")}
    return {}


def unowned(files: AdapterFiles, live: LiveParts, read: Read | None) -> str | None:
    """A saved tensor that no setting names and that, as PEFT loads it, changes a tied one too.

    PEFT loads it into the base's own module. That is what was trained only where nothing shares its
    weight. A copy of the base's embedding, which PEFT can save beside the factors, is none.
    """
    owners = tuple(f".{name}." for name in files.config.get("modules_to_save") or [])
    for key, stored in files.saved.items():
        value = live.all.get(key)
        if read is None or value is None or key in live.own:
            continue
        if any(owner in f".{key}" for owner in owners):
            continue
        tied = [k for k, x in live.all.items() if k != key and x.data_ptr() == value.data_ptr()]
        known = (read(name.replace(".base_layer.", ".")) for name in (key, *tied))
        start = next((x for x in known if x is not None), None)  # only one of the two is stored
        if tied and start is not None and start.shape == stored.shape and not alike(stored, start):
            named = f"no setting of {CONFIG} names it: modules_to_save lacks its module"
            return f"{WEIGHTS} holds {key}, tied to {tied[0]}, and {named}"
    return None


def not_the_files(key: str, gap: float) -> str:
    """The message that a tensor in memory differs from the stored one."""
    if not math.isfinite(gap):
        return f"{key} {NOT_FINITE}"
    return f"{key} in memory is not the file's: they differ by {gap:.2g} of it"


def difference(live: Tensor, stored: Tensor) -> float:
    """How far a tensor in memory is from the stored one, relative to it; 0 in any precision.

    It is NaN or infinite where the one in memory is: what is stored is finite.
    """
    live = live.detach().cpu()
    if not stored.is_floating_point():
        return float(not torch.equal(live, stored))
    if alike(live, stored):
        return 0.0
    gap = float((live.double() - stored).norm() / stored.norm().clamp_min(1e-300))
    return 0.0 if gap <= 1e-6 else gap


def check_zero(claim: Claim, read: Read | None) -> Finding:
    """What was trained beside the factors' products is not zero, where its start was not."""
    files, count = claim.files, 0
    zero, biases = [], []
    for key, stored in files.tensors.items():
        part = FACTOR.fullmatch(key)
        if not stored.is_floating_point() or (part and not key.endswith((".bias", "_vector"))):
            continue
        count += 1
        start = None if part else _start(key, claim.lora_layers, read)
        if key.endswith(ROWS) and start is not None and start.shape == stored.shape:
            rows = (stored == 0).all(dim=1) & (start != 0).any(dim=1)
            if rows.any():
                return fails(f"{int(rows.sum())} of {len(rows)} rows of {key}: {UNTRAINED}")
        elif not stored.any() and (part or (start is not None and start.any())):
            zero.append(key)
        if not part and start is None and key.endswith("bias"):
            biases.append(stored.any())
    if zero:
        return fails(f"{some(zero)}: {UNTRAINED}", zero=len(zero))
    if biases and not any(biases):
        return fails(f"all {len(biases)} biases in {WEIGHTS}: {UNTRAINED}", zero=len(biases))
    return holds(f"{count} tensors beside the factors, none zero", tensors=count)


def _start(key: str, lora_layers: LoraLayers, read: Read | None) -> Tensor | None:
    """What the base has in the place of a saved tensor, if that is known."""
    for name, wrapper in lora_layers.wrappers.items():
        if not key.startswith(f"{name}."):
            continue
        if key.endswith(ROWS):
            weight = wrapper.token_adapter.base_layer.weight
            rows: Tensor = weight[wrapper.token_adapter.token_indices[lora_layers.adapter]]
            return rows.detach().cpu()
        state = wrapper.original_module.state_dict()
        start: Tensor | None = state.get(key.removeprefix(f"{name}."))
        return start
    return None if read is None else read(key.replace(".base_layer.", "."))


def _is_in(key: str, wrappers: Mapping[str, nn.Module]) -> bool:
    return any(key.startswith(f"{name}.") for name in wrappers)


class Calls:
    """Whether a forward pass used the trained copies and rows, not the base's own modules."""

    def __init__(self, places: Sequence[LoraLayers]) -> None:
        self._places = places
        self._called: set[nn.Module] = set()

    def hooks(self) -> Iterator[tuple[nn.Module, Hook]]:
        """Hooks that note which of the copies, and which of the originals, are called."""
        for _, wrapper, copy in self._copies():
            for module in (wrapper.original_module, copy):
                yield module, lambda module, *_: self._called.add(module)

    def problem(self) -> str | None:
        """The first copy that was passed by, or trained row that does not come out."""
        for name, wrapper, copy in self._copies():
            if wrapper.original_module in self._called and copy not in self._called:
                return f"the forward pass goes through the base's own {name}, not the trained one"
        for place in self._places:
            for name, wrapper in place.wrappers.items():
                if not self._gives_rows(wrapper, place.adapter):
                    return f"{name} does not give the rows that were trained for its tokens"
        return None

    def _copies(self) -> Iterator[tuple[str, Any, nn.Module]]:
        for place in self._places:
            for name, wrapper in place.wrappers.items():
                if hasattr(wrapper, "modules_to_save"):
                    yield name, wrapper, wrapper.modules_to_save[place.adapter]

    @staticmethod
    @torch.no_grad()
    def _gives_rows(wrapper: Any, adapter: str) -> bool:
        """Whether a wrapper, called alone, gives its rows; a tied head, products with them."""
        tokens, base = getattr(wrapper, "token_adapter", None), wrapper.original_module
        if tokens is None:
            return True
        ids = torch.tensor(tokens.token_indices[adapter], device=base.weight.device)
        rows = tokens.trainable_tokens_delta[adapter].to(base.weight.dtype)
        if isinstance(base, nn.Embedding):
            return torch.allclose(wrapper(ids), rows * embed_scale(base), rtol=1e-2)
        sums = wrapper(torch.ones_like(rows[:1]))[0, ids]
        return torch.allclose(sums, rows.sum(dim=1), rtol=1e-2, atol=1e-2)
