"""What to change, and the code and commands that a diagnosis offers: they run as pasted."""

import json
import re
import shlex
from dataclasses import dataclass

from loradrift.adapters import Check
from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import WEIGHTS
from loradrift.diagnose.loaded_base import LoadedBase

UNMERGED = "the base before it held this adapter"
UNKNOWN = "none: adapters of this kind cannot be diagnosed here"
TRAINED_ON = "the base that it was trained on"
AGAIN = "train it again, or copy all of {adapter} from where it was saved whole"
CHANGES = {
    "consistent": "restore adapter_config.json and adapter_model.safetensors of {adapter}, both of "
    "one save_pretrained()",
    "lora_B": "train it: model.print_trainable_parameters() must not be 0, and with gradient "
    "checkpointing call model.enable_input_require_grads() first",
    "head": "copy all of {adapter} from where the head was saved too; or train it again, with "
    "LoraConfig(..., modules_to_save=[<name of the head>])",
    "keys": "save it from the model that PEFT was put on: model.save_pretrained(...)",
    "merged_once": "{load}  # holds the adapter already: use it without PEFT",
    "certified": "restore the files of {adapter}, or move the run away and make it again",
    "conversion": "save it again from the trained model: model.save_pretrained(<folder>, "
    "path_initial_model_for_weight_conversion=<the adapter as saved before training>)",
    "rows": "{load}\nmodel.resize_token_embeddings({rows:.0f})  # then load the adapter",
}
"""What to change, by the check that failed, or by what it found; :data:`AGAIN` for all others."""

MERGE = """\
from loradrift.diagnose import merge_adapter
print(merge_adapter({}, {}, "merged"))  # then load merged, without PEFT"""

UNPICKLE = """\
import torch
from safetensors.torch import save_file
file = open({}, 'rb')  # by its name torch would take it for safetensors
weights = torch.load(file, weights_only=True)  # never runs the pickle's code
save_file({{key: x.clone() for key, x in weights.items()}}, {})"""
"""Code that reads tensors and nothing else from a pickle."""


RENAME = """\
from pathlib import Path
Path({}).rename({})"""

JOIN = """\
from pathlib import Path
from safetensors.torch import load_file, save_file
folder = Path({})
shards = sorted(folder.glob("adapter_model-*-of-*.safetensors"))
save_file({{key: x for path in shards for key, x in load_file(path).items()}}, folder / {})"""
"""Code that makes one file of a file's shards."""

START = """\
import json
from pathlib import Path
path = Path({})
config = json.loads(path.read_text())
path.write_text(json.dumps(config | {{"init_lora_weights": {}}}, indent=2))"""
"""Code that gives an adapter its start back: PEFT then takes it out of the base when it loads."""


@dataclass(frozen=True)
class Advice:
    """The diagnosis."""

    healthy: bool | None
    """None where it could not be judged."""

    reason: str
    """One line: what is the case."""

    change: str
    """Code or a command."""


def advise(adapter: str, failed: Check, *, load: str = "", holds_once: bool = False) -> Advice:
    """What to change; ``load`` is the code that loads the base.

    A base that holds the adapter serves without PEFT, if it ``holds_once`` all of it.
    """
    if failed.name == "merged_once" and failed.passed is False and not holds_once:
        return Advice(False, str(failed), diagnose_command(adapter, f"<{TRAINED_ON}>"))
    return Advice(failed.passed, str(failed), _change(failed, adapter, load))


def advise_merge(adapter: str, base: str, failed: Check, gap: float) -> Advice:
    """The way out by merging, whose outputs are the adapter's up to ``gap``."""
    same = f"Merged into the base, its outputs are the adapter's to {gap:.1g}"
    return Advice(False, f"{failed}. {same}", MERGE.format(_quoted(adapter), _quoted(base)))


def _change(failed: Check, adapter: str, load: str) -> str:
    what = _kind(failed)
    if start := re.search(r"as init_lora_weights=(\w+) starts it", failed.message):
        return START.format(_quoted(f"{adapter}/{CONFIG}"), _quoted(start[1]))
    if what == "another base":
        which = "its base model" if failed.passed is None else TRAINED_ON
        return diagnose_command(adapter, f"<{which}>")
    if failed.passed is None:
        asks = failed.name == "merged_once"
        return diagnose_command(adapter, f"<{UNMERGED}>") if asks else UNKNOWN
    if failed.message.endswith(" are here: whole"):
        return JOIN.format(_quoted(adapter), _quoted(WEIGHTS))
    if file := re.search(r"(?:; |/)([^/;]+) is a (pickle|safetensors)", failed.message):
        code = UNPICKLE if file[2] == "pickle" else RENAME
        return code.format(_quoted(f"{adapter}/{file[1]}"), _quoted(f"{adapter}/{WEIGHTS}"))
    rows = failed.figures.get("rows", 0)
    return CHANGES.get(what, AGAIN).format(adapter=adapter, load=load, rows=rows)


def _kind(failed: Check) -> str:
    """The key of :data:`CHANGES`, as far as the check has more than one."""
    if failed.name in ("base", "base_name"):
        named = "conversion" if "conversion" in failed.message else "another base"
        return "rows" if "rows" in failed.figures else named
    if failed.name == "files":
        return "certified" if "certified" in failed.message else "files"
    return "lost" if "lacking" in failed.figures else failed.name


def _quoted(text: str) -> str:
    """A string of Python; JSON's are."""
    return json.dumps(text, ensure_ascii=False)


def override(key: str, value: str) -> str:
    """``key=value`` as the shell and Hydra take it: folders of runs hold commas and ``=``."""
    if re.fullmatch(r"[\w./+-]+", value, re.ASCII):
        return f"{key}={value}"
    quoted = re.sub(r'(\\*)"', r'\1\1\\"', value)  # Hydra doubles backslashes before quotes alone
    return shlex.quote(f'{key}="{quoted}"')


def diagnose_command(adapter: str, base: str) -> str:
    """What to type to have an adapter diagnosed."""
    given = f"base={base}" if base.startswith("<") else override("base", base)
    return f"python analyze.py analysis=diagnose {override('adapter', adapter)} {given}"


def load_code(loaded: LoadedBase, base: str) -> str:
    """Lines that load the base model as ``model``, imports first."""
    library, call = "transformers", f"{loaded.loader}.from_pretrained"
    if loaded.kind == "sentence-transformers":
        library, call = "sentence_transformers", loaded.loader
    options = "".join(f", {key}={value!r}" for key, value in loaded.options.items())
    return f"from {library} import {loaded.loader}\nmodel = {call}({_quoted(base)}{options})"


def path_codes(loaded: LoadedBase, adapter: str, base: str) -> dict[str, str]:
    """Name -> code of the paths of this kind of model, to be pasted as it is."""
    load = load_code(loaded, base)

    def wrap(place: str) -> str:
        wrapped = f"{place} = PeftModel.from_pretrained({place}, {_quoted(adapter)})"
        return f"from peft import PeftModel\n{load}\n{wrapped}"

    if loaded.kind == "sentence-transformers":
        return {
            "on the wrapper": wrap("model"),
            "on the inner transformer": wrap(f"model[0].{loaded.inner.rpartition('.')[2]}"),
            "load_adapter": f"{load}\nmodel.load_adapter({_quoted(adapter)})",
        }
    paths = {"on the model": wrap("model")}
    if loaded.inner:
        paths["on the inner transformer"] = wrap(f"model.{loaded.inner}")
    return paths
