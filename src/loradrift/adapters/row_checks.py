"""Rows of an embedding that were trained alone: those of ``trainable_token_indices``."""

from collections.abc import Iterator

from torch import Tensor, nn

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import ROWS, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Finding, fails


def trained_rows(files: AdapterFiles) -> Iterator[tuple[str, list[int], Tensor]]:
    """Each embedding with trained rows: its name, the tokens of the configuration, the rows."""
    indices = files.config.get("trainable_token_indices") or []
    for key, rows in files.saved.items():
        if not key.endswith(ROWS):
            continue
        path, own = key.removesuffix(f".token_adapter.{ROWS}"), indices
        if isinstance(indices, dict):
            own = next((x for name, x in indices.items() if f".{path}".endswith(f".{name}")), [])
        yield path, own, rows


def row_problems(files: AdapterFiles) -> Iterator[str]:
    """Trained rows of an embedding that are not as many as their tokens."""
    setting = f"trainable_token_indices of {CONFIG}"
    for path, tokens, rows in trained_rows(files):
        if len(tokens) != len(rows):
            named = f"{setting} names {len(tokens)} tokens"
            yield f"{named}, and {WEIGHTS} holds {len(rows)} rows for {path}"
        elif twice := [token for token in tokens if tokens.count(token) > 1]:
            yield f"{setting} names token {twice[0]} twice"


def rows_missing(files: AdapterFiles, _: nn.Module) -> Iterator[tuple[str, Finding]]:
    """Rows of the embedding that were trained, and which the file lacks."""
    indices = files.config.get("trainable_token_indices")
    if indices and not any(key.endswith(ROWS) for key in files.saved):
        yield "keys", rows_lost()


def rows_outside(files: AdapterFiles, model: nn.Module) -> Iterator[tuple[str, Finding]]:
    """Trained rows of tokens that the embedding does not have."""
    for name, layer in model.named_modules():
        for path, tokens, _ in trained_rows(files):
            fits = isinstance(layer, nn.Embedding) and f".{path}".endswith(f".{name}")
            if fits and (top := max(tokens, default=0)) >= (rows := len(layer.weight)):
                named = f"trainable_token_indices of {CONFIG} names token {top}"
                yield "base", fails(f"{named}, and {name} has {rows}: an adapter of another base")


def rows_lost() -> Finding:
    """What fails where an embedding's trained rows are not in the files."""
    lost = f"{WEIGHTS} has lost the rows of trainable_token_indices in {CONFIG}"
    return fails(lost, lacking=1)
