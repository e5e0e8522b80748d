"""``certify``: is this adapter really applied in this model?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import AdapterFiles, read_files
from loradrift.adapters.base_checks import Fingerprints, check_base
from loradrift.adapters.base_weights import open_stored
from loradrift.adapters.check_result import Certificate, Check
from loradrift.adapters.file_checks import (
    check_consistent,
    check_factor,
    check_hashes,
    check_head_saved,
)
from loradrift.adapters.forward_check import check_effect, watch
from loradrift.adapters.lora_layers import LoraLayers, find_lora_layers
from loradrift.adapters.model_checks import (
    check_active,
    check_head_live,
    check_keys,
    check_odd_keys,
    check_placement,
    check_scale,
    check_weights,
    initial_factors,
)
from loradrift.config import UserError


def certify(
    model: nn.Module,
    folder: Path,
    forward: Callable[[], Tensor],
    *,
    base: Path | None = None,
    head: Mapping[str, Tensor] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    prints: Fingerprints | None = None,
    recorded: Mapping[str, str] | None = None,
) -> Certificate:
    """Compare an adapter's files with a model in use that claims to apply them.

    Costs two forward passes of one small batch. Leaves the model as it was.

    Args:
        model: Any module with PEFT somewhere inside.
        folder: The adapter's files.
        forward: Calls ``model`` on a small batch as it is used in earnest; gives (…, features).
        base: Folder of the base model, whose weights are compared with those below the adapter.
        head: State of the head on top, which ``head.safetensors`` must hold; None without one.
        initial: The adapter's first weights where they were taken out of the base (PiSSA).
        prints: Digests of the base model: recorded by the run, and of what was loaded.
        recorded: sha256 of the files when they were certified before.

    Returns:
        One check for each question; a check that cannot be judged says why.
    """
    try:
        files = read_files(folder)
        checks = [*file_checks(files, recorded, wants_head=head is not None)]
    except (UserError, OSError) as error:
        return Certificate((Check("files", False, str(error)),))
    site = find_lora_layers(model)
    checks.append(check_placement(model, site))
    if site is None:
        return Certificate(ordered(checks), files.sha256)
    names = {name for name, _ in site.base.named_modules()}
    checks.append(check_keys(files, names, set(site.layers)))
    checks.append(check_active(site))
    broken = not next(check for check in checks if check.name == "consistent").passed
    if broken:
        note = "not judged: the files contradict each other"
        checks += [Check(n, None, note) for n in ("scale", "weights", "base", "effect")]
        return Certificate(ordered(checks), files.sha256)
    first = initial_factors(initial, site)
    saved = next(check for check in checks if check.name == "head")
    checks[checks.index(saved)] = check_head_live(saved, files, site, head)
    checks.append(check_scale(files, site))
    weights = check_weights(files, site, first, tolerance=_tolerance(site))
    checks.append(weights)
    keys = next(check for check in checks if check.name == "keys")
    if files.odd_keys and False in (weights.passed, keys.passed):
        checks[checks.index(keys)] = check_odd_keys(files)
    checks += check_base(files, site, open_stored(base), first, prints)
    if any(layer.merged for layer in site.layers.values()):
        checks.append(Check("effect", None, "not judged: the adapter is merged"))
    else:
        checks.append(check_effect(files, site, watch(model, site, forward), first))
    return Certificate(ordered(checks), files.sha256)


ORDER = (
    "files", "consistent", "head", "placement", "base", "keys", "lora_B", "lora_A", "merged_once",
    "active", "scale", "weights", "effect", "base_name",
)  # fmt: skip
"""A failure further up explains those further down."""


def ordered(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks in the order in which their failures should be fixed."""
    return tuple(sorted(checks, key=lambda check: ORDER.index(check.name)))


def file_checks(
    files: AdapterFiles, recorded: Mapping[str, str] | None, *, wants_head: bool
) -> list[Check]:
    """The checks that need no model."""
    return [
        check_hashes(files, recorded),
        check_consistent(files),
        check_head_saved(files, wanted=wants_head),
        check_factor(files, "lora_B"),
        check_factor(files, "lora_A"),
    ]


def _tolerance(site: LoraLayers) -> float:
    """How far factors may be from the files': adapters may be loaded in a lower precision."""
    dtypes = {layer.lora_A[site.adapter].weight.dtype for layer in site.linear().values()}
    return max((4 * torch.finfo(dtype).eps for dtype in dtypes), default=0.0) + 1e-5
