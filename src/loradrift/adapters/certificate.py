"""``certify``: are these adapters really applied in this model?"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from loradrift.adapters.adapter_files import Factors, read_files
from loradrift.adapters.base_checks import OTHER_BASE, Fingerprints, check_base, open_stored, reader
from loradrift.adapters.check_result import Certificate, Finding, Findings, fails, ordered
from loradrift.adapters.file_checks import check_files
from loradrift.adapters.forward_check import check_effect
from loradrift.adapters.lora_layers import Claim, find_lora_layers
from loradrift.adapters.model_checks import check_claim, check_placement, initial_factors
from loradrift.adapters.starts import check_start
from loradrift.config import UserError


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
    made_up: bool = False,
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
        made_up: Whether ``forward``'s input was made up, and need not reach all of the model.

    Returns:
        One check for each question; a check that cannot be judged says why. Of several adapters,
        each line names the adapter.

    Example:
        >>> model, nowhere = nn.Linear(2, 2), Path("nowhere")
        >>> certify(model, {"default": 1.0}, {"default": nowhere}, lambda: Tensor()).verdict
        'files: nowhere is no adapter: it has no adapter_config.json'
    """
    digests: dict[str, str] = {}
    found: dict[str, Findings] = {}
    claims: dict[str, Claim] = {}
    stored = open_stored(base)
    read = None if stored is None else reader(stored)
    for adapter, scale in adapters.items():
        prefix = f"{adapter}/" if len(adapters) > 1 else ""
        known = {k.removeprefix(prefix): x for k, x in (recorded or {}).items() if prefix in k}
        try:
            files = read_files(folders[adapter])
        except (UserError, OSError) as error:
            found[adapter] = {"files": fails(str(error))}
            continue
        digests |= {f"{prefix}{name}": digest for name, digest in files.sha256.items()}
        own = found[adapter] = check_files(files, known, wants_head=head is not None)
        lora_layers = find_lora_layers(model, adapter)
        own["placement"] = check_placement(model, lora_layers)
        if lora_layers is None:
            continue
        claim = Claim(files, lora_layers, scale, initial_factors(initial, lora_layers))
        if check_claim(own, claim, adapters, head, read):
            claims[adapter] = claim
    bases = {adapter: check_base(claim, stored, prints) for adapter, claim in claims.items()}
    for adapter, claim in claims.items():
        if start := check_start(claim.files, _layers(claim)):
            bases[adapter] = {"base": start, "merged_once": OTHER_BASE}
    # below the others, a base that one adapter was merged into looks like another base
    merged = [adapter for adapter, each in bases.items() if each["merged_once"].passed is False]
    for adapter in merged or bases:
        found[adapter] |= bases[adapter]
    joined = _join(found)
    if claims and claims.keys() == adapters.keys():
        joined["effect"] = check_effect(model, claims, forward, made_up=made_up)
    return Certificate(ordered(joined), digests)


def _layers(claim: Claim) -> Iterator[tuple[Tensor, Factors]]:
    """The base weight of each layer that fits its factors, and these."""
    for name, factors in claim.factors():
        weight_OI = claim.lora_layers.weight(name)
        if name not in claim.initial and weight_OI.shape == factors.low_rank.shape:
            yield weight_OI, factors


def _join(found: Mapping[str, Findings]) -> Findings:
    """Each check once: its worst verdict, and the adapters that have it, by name."""
    if len(found) == 1:
        return next(iter(found.values()))
    joined = {}
    for name in dict.fromkeys(name for each in found.values() for name in each):
        own = {adapter: each[name] for adapter, each in found.items() if name in each}
        verdicts = [finding.passed for finding in own.values()]
        worst = next(verdict for verdict in (False, None, True) if verdict in verdicts)
        lines = [f"{k}: {finding.message}" for k, finding in own.items() if finding.passed is worst]
        figures = {f"{k}.{key}": x for k, each in own.items() for key, x in each.figures.items()}
        joined[name] = Finding(worst, "; ".join(lines), figures)
    return joined
