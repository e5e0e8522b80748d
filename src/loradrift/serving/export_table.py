"""What ``benchmark=export`` prints: what was written, how it was checked, how it is served."""

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from loradrift.config.benchmarks import RANKS
from loradrift.serving.export_servable import Servable

SERVER = "python -m vllm.entrypoints.openai.api_server"
"""What ``vllm serve`` is, which needs the package to be named vllm: on a CPU it is not."""

ON_CPU = "--enforce-eager --kv-cache-memory-bytes 268435456"
TEXT = "The film was great."


def print_export(servable: Servable, out: Path) -> None:
    """Print what an export holds and the commands that serve it."""
    rank = f", adapter of rank {servable.rank}" if servable.rank else ""
    print(f"\n{servable.label}{rank}: {servable.source}")
    if servable.certificate:
        print(f"the adapter is applied: {servable.certificate}")
    print(f"\n{'part':12}{'largest logit difference':26}folder")
    for part, difference in servable.checks.items():
        print(f"{part:12}{difference:<26.2g}{out / part}")
    for notice in servable.notices:
        print(f"note: {notice}")
    for line in _commands(servable):
        print(line)


def _commands(servable: Servable) -> Iterator[str]:
    """How the parts are served with vLLM, and asked."""
    name = servable.name
    where = servable.base if servable.adapter else servable.merged
    if servable.adapter:
        yield "\nServe the adapter beside others (give them all to --lora-modules):"
        options = _lora(servable, servable.adapter)
        yield f"{SERVER} --model {_quoted(where)} --dtype float32 {options}"
        yield "\nOr serve the merged model:"
    else:
        yield "\nServe the merged model:"
    yield (
        f"{SERVER} --model {_quoted(servable.merged)} --served-model-name {_quoted(name)} "
        "--dtype float32"
    )
    yield "\nAsk either in Python, with the first token that the server's own tokenizer leaves out:"
    yield "from openai import OpenAI"
    yield "from transformers import AutoTokenizer"
    yield f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(str(where))})"
    yield f"ids = {_ids_code(where)}"
    yield 'client = OpenAI(base_url="http://localhost:8000/v1", api_key="none")'
    asked = f"model={json.dumps(name)}, prompt=ids, max_tokens=32, temperature=0"
    yield f"print(client.completions.create({asked}).choices[0].text)"
    if servable.classifier and servable.classifier_base:
        base = servable.classifier_base
        pooler = {"use_activation": False, "seq_pooling_type": "LAST"}
        yield "\nServe the classifier (answers are logits; always name it: the base has no head):"
        yield (
            f"{SERVER} --model {_quoted(base)} --dtype float32 --runner pooling --convert "
            f"classify --pooler-config {_quoted(json.dumps(pooler))} --max-lora-cls-labels "
            f"{servable.num_labels} {_lora(servable, servable.classifier)}"
        )
        body = json.dumps({"model": name, "input": _example_ids(base)})
        header = _quoted("Content-Type: application/json")
        yield f"curl localhost:8000/classify -H {header} -d {_quoted(body)}"
        yield f"# input: the tokens of: {TEXT} Of a pair: bos, first text, eos, second text"
    yield f"\nOn a CPU add {ON_CPU} and set VLLM_CPU_OMP_THREADS_BIND=nobind"


def _lora(servable: Servable, folder: Path) -> str:
    """Options that declare one adapter."""
    rank = next(step for step in RANKS if step >= servable.rank)
    module = f"{servable.name}={folder}"
    if module.count("=") > 1:  # vLLM would cut it elsewhere
        module = json.dumps({"name": servable.name, "path": str(folder)})
    return f"--enable-lora --max-lora-rank {rank} --lora-modules {_quoted(module)}"


def _quoted(value: object) -> str:
    return shlex.quote(str(value))


def _ids_code(model: Path) -> str:
    """Python that makes the token ids of a text as the project does."""
    ids = f"tokenizer({json.dumps(TEXT)}, add_special_tokens=False).input_ids"
    tokenizer = _tokenizer(model)
    return (
        ids
        if tokenizer is None or tokenizer.bos_token_id is None
        else f"[tokenizer.bos_token_id, *{ids}]"
    )


def _example_ids(model: Path) -> list[int]:
    from loradrift.data.tokens import special_ids, token_ids

    tokenizer = _tokenizer(model)
    return [] if tokenizer is None else special_ids(tokenizer)[0] + token_ids(tokenizer, [TEXT])[0]


def _tokenizer(model: Path) -> Any:
    """The model's tokenizer; None where it has none."""
    from transformers import AutoTokenizer

    with suppress(OSError, ValueError):
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    return None
