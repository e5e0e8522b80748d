"""What an adapter's files say about themselves: whole, consistent, and learned."""

import re
from collections.abc import Mapping

from loradrift.adapters.adapter_files import CONFIG, HEAD, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Check, some
from loradrift.config import UserError
from loradrift.weights.delta import MAGNITUDE

HEADED = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""Task types of PEFT whose models have a head that the base model lacks."""


REBUILT = ("target_parameters", "layer_replication")
"""Settings of PEFT under which the adapted model has other modules than the base."""


def check_hashes(files: AdapterFiles, recorded: Mapping[str, str] | None) -> Check:
    """``files``: valid, and the same as when they were certified."""
    shown = ", ".join(f"{name} {digest[:12]}" for name, digest in files.sha256.items())
    for name, digest in (recorded or {}).items():
        if files.sha256.get(name) != digest:
            found = files.sha256.get(name, "nothing")[:12]
            return Check(
                "files",
                False,
                f"{files.folder / name} is not the file that was certified: its sha256 was "
                f"{digest[:12]}, and is {found}",
            )
    size = sum(x.numel() for parts in files.parts.values() for x in parts.values())
    return Check(
        "files",
        True,
        f"{len(files.parts)} modules, {size:,} numbers, all finite; sha256 {shown}",
        {"modules": len(files.parts), "numbers": size},
    )


def check_consistent(files: AdapterFiles) -> Check:
    """``consistent``: ranks, shapes and targets of the configuration are those of the weights."""
    if odd := [key for key in REBUILT if files.config.get(key)]:
        return Check(
            "consistent",
            None,
            f"not judged: {odd[0]} is set in {CONFIG}, under which the factors are not those of "
            "the base model's own modules",
        )
    try:
        problems = [line for module in files.parts if (line := _misfit(files, module))]
    except UserError as error:
        return Check("consistent", False, str(error))
    problems += _targets(files)
    ranks = sorted({int(files.rank(module)) for module in files.parts})
    if problems:
        more = f" ({len(problems)} such)" if len(problems) > 1 else ""
        return Check("consistent", False, problems[0] + more, {"problems": len(problems)})
    return Check(
        "consistent",
        True,
        f"{CONFIG} and {WEIGHTS} agree on {len(files.parts)} modules of rank "
        f"{', '.join(map(str, ranks))}",
    )


def _misfit(files: AdapterFiles, module: str) -> str | None:
    parts = files.parts[module]
    if (MAGNITUDE in parts) != bool(files.config.get("use_dora")):
        has = "holds" if MAGNITUDE in parts else "lacks"
        return f"{WEIGHTS} {has} {module}.{MAGNITUDE}, but use_dora={files.config.get('use_dora')}"
    kind = "lora_embedding" if "lora_embedding_A" in parts else "lora"
    if not {f"{kind}_A", f"{kind}_B"} <= parts.keys():
        return None  # a lone factor is the check of the keys
    if kind == "lora" and ("lora_B.bias" in parts) != bool(files.config.get("lora_bias")):
        has, said = "holds" if "lora_B.bias" in parts else "lacks", files.config.get("lora_bias")
        return f"{WEIGHTS} {has} {module}.lora_B.bias, but lora_bias={said}"
    B, A, rank = parts[f"{kind}_B"], parts[f"{kind}_A"], int(files.rank(module))
    if B.ndim == A.ndim == 2 and B.shape[1] == len(A) == rank:
        return None
    if B.ndim == A.ndim == 2 and len(B) == A.shape[1] == rank:
        return (
            f"{module}: A and B are swapped or transposed: B is {tuple(B.shape)} and A "
            f"{tuple(A.shape)}, where rank {rank} stands at B's end and A's beginning"
        )
    return (
        f"{module}: B {tuple(B.shape)} and A {tuple(A.shape)} in {WEIGHTS} do not fit the rank "
        f"{rank} of {CONFIG}"
    )


def _targets(files: AdapterFiles) -> list[str]:
    """Targets without factors, and factors outside of the targets, by PEFT's rule."""
    targets = files.config.get("target_modules")
    if isinstance(targets, str):
        if targets == "all-linear":
            return []
        odd = [name for name in files.parts if not re.fullmatch(targets, name)]
        return [f"{name} does not match target_modules={targets} of {CONFIG}" for name in odd]
    if not isinstance(targets, list):
        return []
    ends = tuple(f".{target}" for target in targets)
    excluded = files.config.get("exclude_modules") or []
    out = tuple(f".{name}" for name in excluded) if isinstance(excluded, list) else ()
    targets = [target for target in targets if not f".{target}".endswith(out)]
    lone = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in files.parts)]
    tied = files.config.get("ensure_weight_tying")  # PEFT adapts what is tied to a target too
    odd = [name for name in files.parts if not tied and not f".{name}".endswith(ends)]
    return [f"target_modules names {target}, which has no keys in {WEIGHTS}" for target in lone] + [
        f"{name} has keys in {WEIGHTS} and is none of target_modules in {CONFIG}" for name in odd
    ]


def check_factor(files: AdapterFiles, which: str) -> Check:
    """``lora_A`` or ``lora_B``: no module's factor is all zeros."""
    norms = {
        module: float(tensor.norm())
        for module, parts in files.parts.items()
        if (tensor := parts.get(which, parts.get(which.replace("_", "_embedding_")))) is not None
    }
    name = which.removeprefix("lora_")
    if not norms:
        return Check(which, False, f"{WEIGHTS} holds no {which}")
    if zero := [module for module, norm in norms.items() if norm == 0]:
        return Check(
            which,
            False,
            f"{name} is zero in {len(zero)} of {len(norms)} modules, {some(zero)}: the adapter "
            "adds nothing there; it was not trained, or not saved",
            {"zero": len(zero), "modules": len(norms)},
        )
    least, most = min(norms.values()), max(norms.values())
    return Check(
        which,
        True,
        f"norm of {name} {least:.3g} to {most:.3g} in {len(norms)} modules",
        {"least": least, "most": most},
    )


def check_head_saved(files: AdapterFiles, *, wanted: bool) -> Check:
    """``head``: what stands on the transformer is there, where the task needs it.

    Args:
        files: The adapter.
        wanted: Whether ``head.safetensors`` must be there, as in runs of a task with a head.
    """
    if wanted and files.head is None:
        return Check(
            "head", False, f"{files.folder} has lost {HEAD}: the task's head would be random"
        )
    modules = files.config.get("modules_to_save") or []
    task = files.config.get("task_type")
    if (modules or task in HEADED) and not wanted:
        names = {key.rpartition(".")[0].rpartition(".")[2] for key in files.saved}
        if not names & set(modules):
            return Check(
                "head",
                False,
                f"the head is lost: {WEIGHTS} holds none of modules_to_save="
                f"{','.join(modules) or '(none)'}, which task_type={task} needs; it would be "
                "random",
            )
    if files.head is not None:
        return Check("head", True, f"{HEAD} holds {', '.join(sorted(files.head))}")
    if files.saved:
        return Check("head", True, f"saved beside the factors: {some(files.saved)}")
    return Check("head", True, "the task needs no head")
