"""What to change, by the check that failed: one diagnosis, with code or a command."""

from dataclasses import dataclass

from loradrift.certify.paths import Tried
from loradrift.certify.record import Check

AGAIN = "train it again, or copy all of {adapter} from where it was saved whole"
CHANGES = {
    "consistent": "restore adapter_config.json and adapter_model.safetensors of {adapter}, both of "
    "one save_pretrained()",
    "lora_A": AGAIN,
    "lora_B": "train it: model.print_trainable_parameters() must not be 0, and with gradient "
    "checkpointing call model.enable_input_require_grads() first",
    "head": 'LoraConfig(..., task_type="SEQ_CLS", modules_to_save=["score"])  # train and save '
    "again; or restore head.safetensors of the run",
    "merged_once": 'AutoModel.from_pretrained("{base}")  # holds the adapter: use it without PEFT',
    "keys": "save it from the model that PEFT was put on: model.save_pretrained(...)",
}
"""What to change, by the check that failed."""


@dataclass(frozen=True)
class Advice:
    """The diagnosis."""

    healthy: bool | None
    """None where it could not be judged."""

    reason: str
    """One line: what is the case."""

    change: str
    """Code or a command."""


def advise(
    adapter: str,
    base: str | None,
    failed: Check | None,
    *,
    path: Tried | None = None,
    merged: float | str | None = None,
    tolerance: float = 0.0,
) -> Advice:
    """One diagnosis.

    Args:
        adapter: As typed.
        base: As typed, or as the adapter names it.
        failed: The check that explains the rest; None if there is nothing to mend.
        path: The loading path that works, or comes nearest.
        merged: How far the merged model is from the adapter, or why it cannot be merged; None
            where merging was not tried.
        tolerance: Up to which the merged model counts as the same.
    """
    if failed is None:
        assert path is not None
        return Advice(True, f"the adapter is applied {path.name}", path.code)
    reason = f"{failed.name}: {failed.message}"
    if isinstance(merged, float) and merged <= tolerance:
        return Advice(
            False,
            f"{reason}. Merged into the base, its outputs are the adapter's to {merged:.1g}",
            "from loradrift.certify import merge_adapter; "
            f'merge_adapter("{adapter}", "{base}", "merged")  # then load merged, without PEFT',
        )
    return Advice(failed.passed, reason, _change(failed).format(adapter=adapter, base=base))


def _change(failed: Check) -> str:
    """A template of ``adapter`` and ``base``."""
    if failed.name == "base":
        which = "its base model" if failed.passed is None else "the base that it was trained on"
        return f"python analyze.py analysis=diagnose 'adapter=\"{{adapter}}\"' base=<{which}>"
    if failed.name == "files" and failed.passed is None:
        return "none: only LoRA adapters are diagnosed"
    if failed.name == "files" and "pickle" in failed.message:
        return (
            "where you trust the pickle, on a machine of its own: PeftModel.from_pretrained(base, "
            '"{adapter}").save_pretrained("{adapter}")  # writes safetensors'
        )
    if failed.name == "files" and "certified" in failed.message:
        return "restore the files of {adapter}, or move the run away and make it again"
    return CHANGES.get(failed.name, AGAIN)
