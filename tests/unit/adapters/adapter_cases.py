"""Small adapters on disk, healthy ones, and the model that applies them."""

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from loradrift.adapters import Certificate, certify
from loradrift.diagnose import Diagnosis, diagnose

IDS = torch.tensor([[1, 40, 41, 42, 43, 3, 3, 3], [1, 50, 51, 52, 53, 54, 55, 56]])
PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CLASSIFIER = {"kind": AutoModelForSequenceClassification, "task_type": "SEQ_CLS"}


@pytest.fixture
def folder(model_folder, tmp_path):
    """A healthy adapter of ``model_folder``, to be spoiled."""
    return write_adapter(tmp_path / "adapter", model_folder)


def load_base(folder: Path, kind=AutoModelForCausalLM, **options):
    return kind.from_pretrained(folder, **options)


def write_base(folder: Path, family: str, kind=AutoModelForCausalLM, **options) -> Path:
    """A model of another architecture than ``model_folder``, as small."""
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    config = AutoConfig.for_model(family, **size | {"intermediate_size": 64} | options)
    kind.from_config(config).save_pretrained(folder)
    return folder


def sentence_model(*args, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(*map(str, args), device="cpu", **options)


def write_sentence_base(folder: Path, base: Path) -> Path:
    """A sentence-transformers model around ``base``; without the library the test is skipped."""
    pytest.importorskip("sentence_transformers", reason="the extra `sentence` is not here")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    modules = [Transformer(str(base)), Pooling(32, pooling_mode="mean")]
    sentence_model(modules=modules).save_pretrained(str(folder))
    return folder


WRITTEN: dict[str, Path] = {}


def write_adapter(folder: Path, base: Path, **config) -> Path:
    """An adapter as :func:`_train_adapter` makes it; equal ones are made once, and copied."""
    weights = max(path.stat().st_mtime_ns for path in base.iterdir())
    key = repr((base, weights, sorted(config.items(), key=lambda item: item[0])))
    if key not in WRITTEN:
        place = Path(tempfile.mkdtemp(dir=base.parent))
        WRITTEN[key] = _train_adapter(place / "adapter", base, **config)
    return shutil.copytree(WRITTEN[key], folder, dirs_exist_ok=True)


def _train_adapter(
    folder: Path, base: Path, *, size=0.05, kind=AutoModelForCausalLM, convert=True, **config
) -> Path:
    """An adapter of ``base`` whose every parameter has moved by ``size``.

    One that began with a part of the base is saved as a plain one, unless not to ``convert``.
    """
    torch.manual_seed(0)
    model = peft.get_peft_model(load_base(base, kind), peft.LoraConfig(**PLAIN | config))
    moved_start = convert and str(config.get("init_lora_weights", "")) in ("pissa", "olora")
    if moved_start:
        model.save_pretrained(folder.parent / "initial")
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(size * torch.randn(p.shape))
    start = str(folder.parent / "initial") if moved_start else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder, path_initial_model_for_weight_conversion=start)
    return folder


def load_adapter(folder: Path, base: Path, kind=AutoModelForCausalLM, **options):
    """The adapter as PEFT loads it onto its base."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(load_base(base, kind, **options), folder)


def lora_layers(model) -> list[LoraLayer]:
    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def forward(model):
    """The call that is used in earnest."""
    output = model(input_ids=IDS)
    return output["last_hidden_state" if "last_hidden_state" in output else "logits"]


def certificate_of(model, folder: Path, base: Path | None, **options) -> Certificate:
    names, folders = {"default": 1.0}, {"default": folder}
    return certify(model, names, folders, lambda: forward(model), base=base, **options)


def judged(folder: Path, base: Path, kind=AutoModelForCausalLM, **options) -> Certificate:
    """The certificate of an adapter as PEFT loads it onto its base."""
    return certificate_of(load_adapter(folder, base, kind, **options), folder, base)


def rewrite(folder: Path, change) -> None:
    """Apply ``change`` to the dict of tensors of an adapter."""
    tensors = change(tensors_of(folder))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / WEIGHTS)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Copies: what safetensors gives lies in the file, which is overwritten here."""
    return {key: value.clone() for key, value in load_file(folder / WEIGHTS).items()}


def zero_b(folder) -> None:
    """As an adapter that was never trained."""
    rewrite(folder, zeroed("lora_B"))


def read_config(folder) -> dict:
    return json.loads((folder / CONFIG).read_text())


def edit(folder, *, drop=(), **changes) -> None:
    config = read_config(folder) | changes
    kept = {key: value for key, value in config.items() if key not in drop}
    (folder / CONFIG).write_text(json.dumps(kept))


def without(part):
    """A change of tensors for :func:`rewrite`."""
    return lambda tensors: {key: x for key, x in tensors.items() if part not in key}


def zeroed(part):
    """A change of tensors for :func:`rewrite`."""
    return lambda tensors: {key: x * (part not in key) for key, x in tensors.items()}


def swapped(*, transposed=False):
    """A change of tensors for :func:`rewrite`: A is called B, and B is called A."""
    names = str.maketrans("AB", "BA")
    return lambda tensors: {
        key.translate(names) if "lora_" in key else key: x.T if transposed else x
        for key, x in tensors.items()
    }


def truncate(folder) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def pickled(folder, name=WEIGHTS, **options) -> None:
    """The weights as a pickle, under the name of a safetensors file or its own."""
    tensors = tensors_of(folder)
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / name, **options)


def diagnosed(folder, base=None, exit_code=0, *, reason="", change="") -> Diagnosis:
    """The diagnosis of a folder, with this exit code, reason and remedy."""
    found = diagnose(str(folder), base and str(base))
    assert found.exit_code == exit_code, found.advice.reason
    assert reason in found.advice.reason, found.advice.reason
    assert change in found.advice.change, found.advice.change
    json.dumps(found.to_json(), allow_nan=False)
    return found


def pasted(code: str) -> dict:
    """The names after offered code has run, with nothing imported before."""
    names: dict = {}
    exec(code, names)
    return names


def caught(certificate, name: str, message: str) -> None:
    """The named check fails, with its message, and nothing before it in order hides it."""
    assert certificate.passed is False
    assert message in certificate[name].message, certificate[name].message
    assert certificate[name].passed is False
    assert certificate.verdict.startswith(f"{name}: "), certificate.verdict
