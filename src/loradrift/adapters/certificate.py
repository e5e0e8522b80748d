"""``certify``: are these adapters really applied in this model?"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from loradrift.adapters.adapter_files import read_files
from loradrift.adapters.base_checks import Fingerprints, check_base
from loradrift.adapters.base_weights import open_stored
from loradrift.adapters.check_result import Certificate, Check, unjudged
from loradrift.adapters.file_checks import file_checks
from loradrift.adapters.forward_check import check_effect, run_on_and_off
from loradrift.adapters.lora_layers import Claim, find_lora_layers
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
from loradrift.weights import StoredWeights

ORDER = (
    "files", "consistent", "head", "placement", "base", "keys", "lora_B", "lora_A", "merged_once",
    "active", "scale", "weights", "effect", "base_name",
)  # fmt: skip
"""A failure further up explains those further down."""


def certify(
    model: nn.Module,
    adapters: Mapping[str, float],
    folders: Mapping[str, Path],
    forward: Callable[[], Tensor],
    *,
    base: Path | None = None,
    head: Mapping[str, Tensor] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    prints: Fingerprints | None = None,
    recorded: Mapping[str, str] | None = None,
) -> Certificate:
    """Compare the files of one or more adapters with a model in use that claims to apply them.

    The model's output has to differ from the base model's by the sum of what the adapters add,
    each times its scale. Costs two forward passes of one small batch. Leaves the model as it was.

    Args:
        model: Any module with PEFT somewhere inside.
        adapters: PEFT's name of each active adapter, and its scale: 1, or what ``set_scale`` set.
        folders: The files of each.
        forward: Calls ``model`` on a small batch as it is used in earnest; gives (…, features).
        base: Folder of the base model, whose weights are compared with those below the adapters.
        head: State of the head on top, which ``head.safetensors`` must hold; None without one.
        initial: The adapters' first weights where they were taken out of the base (PiSSA).
        prints: Digests of the base model: recorded by the run, and of what was loaded.
        recorded: sha256 of the files when they were certified before, named as in
            :attr:`Certificate.files`.

    Returns:
        One check for each question; a check that cannot be judged says why. Of several adapters,
        each line names the adapter.

    Example:
        >>> model, nowhere = nn.Linear(2, 2), Path("nowhere")
        >>> certify(model, {"default": 1.0}, {"default": nowhere}, lambda: Tensor()).verdict
        'files: nowhere is no adapter: it has no adapter_config.json'
    """
    digests: dict[str, str] = {}
    checks: dict[str, list[Check]] = {}
    claims: dict[str, Claim] = {}
    for adapter, scale in adapters.items():
        prefix = f"{adapter}/" if len(adapters) > 1 else ""
        known = {k.removeprefix(prefix): x for k, x in (recorded or {}).items() if prefix in k}
        try:
            files = read_files(folders[adapter])
        except (UserError, OSError) as error:
            checks[adapter] = [Check("files", False, str(error))]
            continue
        digests |= {f"{prefix}{name}": digest for name, digest in files.sha256.items()}
        own = checks[adapter] = file_checks(files, known, wants_head=head is not None)
        lora_layers = find_lora_layers(model, adapter)
        own.append(check_placement(model, lora_layers))
        if lora_layers is None:
            continue
        claim = Claim(files, lora_layers, scale, initial_factors(initial, lora_layers))
        if _judge_in_model(own, claim, adapters, head):
            claims[adapter] = claim
    _judge_bases(checks, claims, open_stored(base), prints)
    joined = _join(checks)
    if claims and claims.keys() == adapters.keys():
        joined.append(_judge_effect(model, claims, forward))
    return Certificate(ordered(joined), digests)


def _judge_in_model(
    checks: list[Check],
    claim: Claim,
    together: Collection[str],
    head: Mapping[str, Tensor] | None,
) -> bool:
    """Add the checks of what PEFT made of the files; whether the rest can be judged."""
    files, lora_layers = claim.files, claim.lora_layers
    named = {check.name: check for check in checks}
    names = {name for name, _ in lora_layers.base.named_modules()}
    keys = check_keys(files, names, set(lora_layers.layers))
    checks += [keys, check_active(lora_layers, together)]
    if not named["consistent"].passed:
        note = unjudged("the files contradict each other")
        checks += [Check(name, *note) for name in ("scale", "weights", "base", "effect")]
        return False
    saved = named["head"]
    checks[checks.index(saved)] = check_head_live(saved, files, lora_layers, head)
    weights = check_weights(claim)
    checks += [check_scale(claim), weights]
    if files.odd_keys and False in (weights.passed, keys.passed):
        checks[checks.index(keys)] = check_odd_keys(files)
    return True


def _judge_bases(
    checks: Mapping[str, list[Check]],
    claims: Mapping[str, Claim],
    stored: StoredWeights | None,
    prints: Fingerprints | None,
) -> None:
    """Add the checks of the weights below each adapter."""
    found = {name: check_base(claim, stored, prints) for name, claim in claims.items()}
    # below the others, a base that one adapter was merged into looks like another base
    merged = [name for name, each in found.items() if each.merged_once.passed is False]
    for name in merged or found:
        checks[name] += found[name].checks()


def _judge_effect(
    model: nn.Module, claims: Mapping[str, Claim], forward: Callable[[], Tensor]
) -> Check:
    places = {adapter: claim.lora_layers for adapter, claim in claims.items()}
    if any(layer.merged for place in places.values() for layer in place.layers.values()):
        return Check("effect", *unjudged("the adapter is merged"))
    return check_effect(claims, run_on_and_off(model, places, forward))


def _join(checks: Mapping[str, list[Check]]) -> list[Check]:
    """Each check once: its worst verdict, and the adapters that have it, by name."""
    if len(checks) == 1:
        return [*next(iter(checks.values()))]
    by_name: dict[str, dict[str, Check]] = {}
    for adapter, each in checks.items():
        for check in each:
            by_name.setdefault(check.name, {})[adapter] = check
    joined = []
    for name, own in by_name.items():
        verdicts = {check.passed for check in own.values()}
        worst = next(verdict for verdict in (False, None, True) if verdict in verdicts)
        lines = [f"{k}: {check.message}" for k, check in own.items() if check.passed is worst]
        figures = {f"{k}.{key}": x for k, check in own.items() for key, x in check.figures.items()}
        joined.append(Check(name, worst, "; ".join(lines), figures))
    return joined


def ordered(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks in the order in which their failures should be fixed."""
    return tuple(sorted(checks, key=lambda check: ORDER.index(check.name)))
