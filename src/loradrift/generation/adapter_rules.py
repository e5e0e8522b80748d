"""An adapter held against its base before an engine loads it: linear layers, embedding and head."""

from collections.abc import Iterable
from dataclasses import replace

from loradrift.adapters import AdapterFiles
from loradrift.adapters.adapter_changes import changes_of
from loradrift.adapters.adapter_files import WEIGHTS
from loradrift.adapters.base_checks import alike
from loradrift.adapters.file_checks import lone_factor, misfit, other_shape
from loradrift.config import UserError
from loradrift.weights import StoredWeights

HEAD = "lm_head"
"""What transformers calls the map to the vocabulary."""

COPY = ".base_layer.weight"
"""How the key of an adapted embedding's or head's own weight ends, which PEFT saves too."""

EMBEDDINGS = ("embed_tokens.weight", "embed_in.weight", "wte.weight")
"""How the embedding of a model is stored, to which its head may be tied."""


def check_changes(files: AdapterFiles, base: StoredWeights) -> None:
    """Refuse an adapter that is anything else than factors for the weights of this base.

    Beside linear layers they may change the embedding and the head, be they tied or not: PEFT
    changes the one that is named. It saves the weights of these whole, too, which must be the
    base's: engines do not load them.

    Raises:
        UserError: Names the folder, the module and what is wrong.
    """
    wide = {name: parts for name, parts in files.parts.items() if is_wide(files, name)}
    linear = {name: parts for name, parts in files.parts.items() if name not in wide}
    copies = {key.removesuffix(COPY): x for key, x in files.saved.items() if key.endswith(COPY)}
    rest = {key: x for key, x in files.saved.items() if not key.endswith(COPY)}
    changes_of(replace(files, parts=linear, saved=rest), base)
    own = replace(files, parts=wide)
    if problem := next(filter(None, (misfit(own, name) for name in wide)), lone_factor(own)):
        raise UserError(f"{files.folder}: {problem}")
    for name, parts in wide.items():
        factors, key = own.factors(name), stored_key(name, base)
        assert factors is not None
        rows, width = base.shapes.get(key, (0, 0))
        change = factors.low_rank.shape
        wanted = (width, rows) if "lora_embedding_A" in parts else (rows, width)
        if tuple(change) != wanted:
            what = other_shape(name, change, wanted if rows else "none", str(base.folder))
            raise UserError(f"{files.folder / WEIGHTS}: {what}")
        if "lora_B.bias" in parts:
            path = files.folder / WEIGHTS
            raise UserError(f"{path} holds {name}.lora_B.bias, which is no factor")
    for name, copy in copies.items():
        key = stored_key(name, base)
        if name not in wide or not alike(copy, base.read(key)):
            raise UserError(
                f"{files.folder / WEIGHTS}: {name}{COPY} must be the base's own weight, and is "
                f"not that of {base.folder}: engines load the factors alone"
            )


def is_wide(files: AdapterFiles, name: str) -> bool:
    """Whether a module is as wide as the vocabulary: an embedding, or the head."""
    embeds = any("embedding" in part for part in files.parts[name])
    return embeds or name.rpartition(".")[2] == HEAD


def stored_key(name: str, base: StoredWeights) -> str:
    """The key of a module's weight; a tied head has that of the embedding."""
    key = base.find(f"{name}.weight")
    tied: Iterable[str] = ()
    if key not in base.shapes and name.rpartition(".")[2] == HEAD:
        tied = (each for each in base.shapes if each.endswith(EMBEDDINGS))
    return next(iter(tied), key)
