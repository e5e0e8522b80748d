"""Low-rank changes written as an ordinary PEFT adapter, whatever they were made of."""

# Shape suffixes: O outputs, I inputs, R rank.

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import PREFIX, WEIGHTS
from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.models.export import sort_targets
from loradrift.weights import LowRank, norm


def write_low_rank(
    folder: Path, changes: Mapping[str, LowRank], *, base: str, coefficient: float = 1.0
) -> None:
    """Write ``coefficient * changes`` as a LoRA adapter in float32 that PEFT scales by 1.

    All scales are in B, so that no reader has to know them: alpha is the rank, without rsLoRA.
    The files are whole or absent.

    Args:
        folder: A new folder.
        changes: By the modules' names in the language model.
        base: What the adapter names as its base model.
        coefficient: What the direction is multiplied with.

    Raises:
        UserError: If a factor is not finite in float32, or becomes zero in it.
    """
    import peft
    from safetensors.torch import save_file

    largest = max(change.rank for change in changes.values())
    others = {name: x.rank for name, x in changes.items() if x.rank != largest}
    config = peft.LoraConfig(
        base_model_name_or_path=base,
        task_type=peft.TaskType.CAUSAL_LM,
        r=largest,
        lora_alpha=largest,
        target_modules=list(changes),
        rank_pattern=others,
        alpha_pattern=dict(others),
        inference_mode=True,
    )
    tensors: dict[str, Tensor] = {}
    for name, change in changes.items():
        B_OR = (coefficient * change.scale * change.B_OR).float()
        A_RI = change.A_RI.float()
        for part, factor in (("B", B_OR), ("A", A_RI)):
            key = f"{PREFIX}{name}.lora_{part}.weight"
            _check(key, factor, coefficient)
            tensors[key] = factor.contiguous().cpu()
        lost = bool(change.B_OR.any()) and not B_OR.any()
        if lost:
            raise UserError(
                f"coefficient={coefficient} is so small that the change of {name} is zero in "
                "float32"
            )
    with write_atomic(folder) as temporary:
        temporary.mkdir()
        config.save_pretrained(str(temporary))
        sort_targets(temporary)
        save_file(tensors, temporary / WEIGHTS)
        # safetensors' 0600 would hide them from the user's group
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)


def relative_error(written: Mapping[str, LowRank], exact: Mapping[str, LowRank]) -> float:
    """The largest ``|written - exact| / |exact|`` of a module; the changes have the same modules.

    Modules whose exact change is zero have to be zero up to the rounding of the others.

    Example:
        >>> one = {"m": LowRank(torch.ones(2, 1), torch.ones(1, 3))}
        >>> relative_error(one, one) < 1e-15
        True
    """
    sizes = {name: norm(change) for name, change in exact.items()}
    least = 1e-9 * max(sizes.values())
    return max(
        norm(written[name] - change) / max(sizes[name], least) for name, change in exact.items()
    )


def _check(key: str, factor: Tensor, coefficient: float) -> None:
    if not factor.isfinite().all():
        raise UserError(f"coefficient={coefficient}: {key} would not be finite in float32")
