"""An engine of transformers and PEFT with adapters side by side."""

from pathlib import Path

import pytest
from adapter_cases import write_adapter

from loradrift.generation import EngineSettings, open_engine

PLACES = {"target_modules": ["q_proj", "v_proj", "down_proj"]}


@pytest.fixture(scope="session")
def adapters(model_folder, tmp_path_factory) -> dict[str, Path]:
    """Adapters of different ranks, scales and layers; each moves the answers."""
    folder = tmp_path_factory.mktemp("adapters")
    kinds = {
        "plain": {"r": 4, "lora_alpha": 8, **PLACES},
        "wide": {"r": 9, "lora_alpha": 3, "use_rslora": True, "target_modules": "all-linear"},
        "uneven": {
            "r": 4,
            "rank_pattern": {"v_proj": 2},
            "alpha_pattern": {"v_proj": 32},
            **PLACES,
        },
    }
    return {
        name: write_adapter(folder / name, model_folder, size=0.2, **kind)
        for name, kind in kinds.items()
    }


@pytest.fixture(scope="session")
def settings(model_folder, adapters) -> EngineSettings:
    return EngineSettings(model_folder, adapters, max_length=64)


@pytest.fixture(scope="session")
def engine(settings):
    """Tests leave it as it was."""
    with open_engine("hf", settings) as opened:
        yield opened
