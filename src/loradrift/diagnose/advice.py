"""What to change, by the check that failed: one diagnosis, with code or a command."""

import re
from dataclasses import dataclass

from loradrift.adapters.adapter_files import WEIGHTS
from loradrift.adapters.check_result import Check
from loradrift.diagnose.load_attempts import LoadAttempt
from loradrift.diagnose.snippets import diagnose_command, quoted

UNKNOWN = "none: adapters of this kind cannot be diagnosed here"
AGAIN = "train it again, or copy all of {adapter} from where it was saved whole"
CHANGES = {
    "consistent": "restore adapter_config.json and adapter_model.safetensors of {adapter}, both of "
    "one save_pretrained()",
    "lora_A": AGAIN,
    "lora_B": "train it: model.print_trainable_parameters() must not be 0, and with gradient "
    "checkpointing call model.enable_input_require_grads() first",
    "head": "copy all of {adapter} from where the head was saved too; or train it again, with "
    "LoraConfig(..., modules_to_save=[<name of the head>])",
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
    path: LoadAttempt | None = None,
    merged: float | str | None = None,
    tolerance: float = 0.0,
    load: str = "",
) -> Advice:
    """One diagnosis.

    Args:
        adapter: Folder of its files.
        base: As typed, or as the adapter names it.
        failed: The check that explains the rest; None if there is nothing to fix.
        path: The loading path that works, or comes nearest.
        merged: How far the merged model is from the adapter, or why it cannot be merged; None
            where merging was not tried.
        tolerance: Up to which the merged model counts as the same.
        load: Code that loads the base.
    """
    if failed is None:
        assert path is not None
        return Advice(True, f"the adapter is applied {path.name}", path.code)
    reason = f"{failed.name}: {failed.message}"
    if isinstance(merged, float) and merged <= tolerance:
        assert base is not None
        return Advice(
            False,
            f"{reason}. Merged into the base, its outputs are the adapter's to {merged:.1g}",
            "from loradrift.diagnose import merge_adapter\n"
            f"merge_adapter({quoted(adapter)}, {quoted(base)}, "
            '"merged")  # then load merged, without PEFT',
        )
    return Advice(failed.passed, reason, _change(failed, adapter, load))


def _change(failed: Check, adapter: str, load: str) -> str:
    if failed.name in ("base", "base_name"):
        return _other_base(failed, adapter, load)
    if failed.passed is None:
        return UNKNOWN
    if failed.name == "files":
        return _other_files(failed, adapter)
    if failed.name == "merged_once":
        return f"{load}  # holds the adapter already: use it without PEFT"
    if failed.name == "keys" and "lacking" in failed.figures:
        return AGAIN.format(adapter=adapter)
    return CHANGES.get(failed.name, AGAIN).format(adapter=adapter)


def _other_files(failed: Check, adapter: str) -> str:
    if pickle := re.search(r"([^\s/]+) is a pickle", failed.message):
        return _unpickle(f"{adapter}/{pickle[1]}", f"{adapter}/{WEIGHTS}")
    if "certified" in failed.message:
        return f"restore the files of {adapter}, or move the run away and make it again"
    return AGAIN.format(adapter=adapter)


def _other_base(failed: Check, adapter: str, load: str) -> str:
    if rows := failed.figures.get("rows"):
        return f"{load}\nmodel.resize_token_embeddings({rows:.0f})  # then load the adapter"
    if "conversion" in failed.message:
        return (
            "save it again from the trained model: model.save_pretrained(<folder>, "
            "path_initial_model_for_weight_conversion=<the adapter as saved before training>)"
        )
    which = "its base model" if failed.passed is None else "the base that it was trained on"
    return diagnose_command(adapter, f"<{which}>")


def _unpickle(source: str, target: str) -> str:
    """Code that reads tensors and nothing else from a pickle."""
    return (
        "import torch\n"
        "from safetensors.torch import save_file\n"
        f"file = open({quoted(source)}, 'rb')  # by its name torch would take it for safetensors\n"
        "weights = torch.load(file, weights_only=True)  # never runs the pickle's code\n"
        f"save_file({{key: x.clone() for key, x in weights.items()}}, {quoted(target)})"
    )
