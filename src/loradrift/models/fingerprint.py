"""Which base model it is: a digest of its files, and of nothing else."""

import hashlib
from pathlib import Path

from loradrift.caching import file_digest
from loradrift.config import ModelConfig
from loradrift.models.architecture import unreadable_model
from loradrift.models.backbone import adapter_beside, check_path


def model_fingerprint(config: ModelConfig, *, seed: int, cache: Path) -> str:
    """Digest (sha256) of the base model: its architecture file and its weights, or their seed.

    Weights are hashed once and remembered by name, size and times of change.

    Raises:
        UserError: If the model is neither here nor on the hub, or no model alone.
    """
    check_path(config)
    folder = Path(config.path)
    if not folder.is_dir():
        folder = _download(config)
        if (folder / "adapter_config.json").is_file():
            raise adapter_beside(config)
    parts = [file_digest(folder / "config.json", cache)]
    if config.weights == "random":
        parts.append(f"random {seed}")
    else:
        parts += [file_digest(path, cache) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def model_folder(config: ModelConfig) -> Path:
    """The folder of a model's files: its own, or the hub's copy on this machine.

    Raises:
        UserError: If the model is neither here nor on the hub, or no model alone.
    """
    check_path(config)
    return Path(config.path) if Path(config.path).is_dir() else _download(config)


def _download(config: ModelConfig) -> Path:
    """The hub's snapshot of a model: every file that is loaded, and no pickle."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json"] if config.weights == "random" else ["*.json", "*.safetensors"]
    try:
        return Path(snapshot_download(config.path, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise unreadable_model(config, error) from None
