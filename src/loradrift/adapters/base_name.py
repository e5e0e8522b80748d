"""Whether the base model at hand is the one that the adapter names."""

from pathlib import Path

from loradrift.adapters.adapter_files import CONFIG, AdapterFiles
from loradrift.adapters.base_weights import open_stored
from loradrift.adapters.check_result import Check


def check_base_name(files: AdapterFiles, base: str, *, digested: bool) -> Check:
    """``base_name``: by name, where the weights of the two cannot be compared.

    Args:
        files: The adapter.
        base: Folder or hub name, as given.
        digested: Whether a run recorded the base's digest, which says more than a name.
    """
    named = str(files.config.get("base_model_name_or_path") or "")
    if digested:
        return Check("base_name", True, "the run recorded the base model's digest")
    if not named:
        return Check("base_name", True, f"{CONFIG} names no base model: base={base} is believed")
    if _same(named, base):
        return Check("base_name", True, f"the base is the one that {CONFIG} names")
    if open_stored(Path(named)) is not None:
        return Check("base_name", True, f"the base that {CONFIG} names is {named}, compared above")
    if called(named).casefold() == called(base).casefold():
        return Check(
            "base_name",
            True,
            f"{CONFIG} names {named}, which is not here; base={base} is called alike",
        )
    return Check(
        "base_name",
        None,
        f"not judged: {CONFIG} names {named}, base={base} is called otherwise, and the former is "
        "not here to compare their weights",
    )


def called(model: str) -> str:
    """A model's own name: the end of a path or hub name, also of a snapshot in the hub's cache."""
    for part in Path(model).parts:
        if part.startswith("models--"):
            return part.rpartition("--")[2]
    return Path(model).name


def _same(named: str, base: str) -> bool:
    if Path(named).exists() and Path(base).exists():
        return Path(named).samefile(base)
    return named == base
