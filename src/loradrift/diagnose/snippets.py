"""The code and the commands that a diagnosis offers: complete, they run as they are pasted."""

import json
import re

from loradrift.diagnose.loaded_base import LoadedBase

LOADERS = {
    "causal LM": "AutoModelForCausalLM",
    "run": "AutoModelForCausalLM",
    "classifier": "AutoModelForSequenceClassification",
    "transformer": "AutoModel",
}
"""Kind of model -> transformers' class for it."""

CALL = ".from_pretrained"


def quoted(text: str) -> str:
    """A string of Python; JSON's are."""
    return json.dumps(text, ensure_ascii=False)


def override(key: str, value: str) -> str:
    """``key=value`` as the shell and Hydra take it: folders of runs hold commas and ``=``."""
    return f"{key}={value}" if re.fullmatch(r"[\w./+-]+", value) else f"'{key}=\"{value}\"'"


def diagnose_command(adapter: str, base: str) -> str:
    """What to type to have an adapter diagnosed."""
    given = f"base={base}" if base.startswith("<") else override("base", base)
    return f"python analyze.py analysis=diagnose {override('adapter', adapter)} {given}"


def load_code(loaded: LoadedBase, base: str) -> str:
    """Lines that load the base model as ``model``, imports first."""
    if loaded.kind == "sentence-transformers":
        library, loader, call = "sentence_transformers", "SentenceTransformer", ""
    else:
        library, loader, call = "transformers", LOADERS.get(loaded.kind, LOADERS["run"]), CALL
    options = "".join(f", {key}={value!r}" for key, value in loaded.options.items())
    return f"from {library} import {loader}\nmodel = {loader}{call}({quoted(base)}{options})"


def paths_of(loaded: LoadedBase, adapter: str, base: str) -> dict[str, str]:
    """Name -> code of the paths of this kind of model, to be pasted as it is."""
    load = load_code(loaded, base)

    def wrap(place: str) -> str:
        wrapped = f"{place} = PeftModel.from_pretrained({place}, {quoted(adapter)})"
        return f"from peft import PeftModel\n{load}\n{wrapped}"

    if loaded.kind == "sentence-transformers":
        return {
            "on the wrapper": wrap("model"),
            "on the inner transformer": wrap(f"model[0].{loaded.inner.rpartition('.')[2]}"),
            "load_adapter": f"{load}\nmodel.load_adapter({quoted(adapter)})",
        }
    paths = {"on the model": wrap("model")}
    if loaded.inner:
        paths["on the inner transformer"] = wrap(f"model.{loaded.inner}")
    return paths
