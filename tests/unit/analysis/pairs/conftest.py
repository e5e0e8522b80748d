"""A small model's adapters on disk, pairs that its tokenizer knows, and their comparison."""

import pytest
from adapter_cases import write_adapter, zero_b
from transformers import AutoModelForCausalLM

from loradrift.analysis.pairs import comparison
from loradrift.analysis.registry import make_config

PAIRS = """text1,text2,label
the film was great,the film was terrible,0
no,yes,0
the film,the film was great and the film was terrible and no,1
yes the film was great,yes the film was great,1
"""


@pytest.fixture
def pairs_file(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS)
    return path


@pytest.fixture
def adapter(model_folder, tmp_path):
    """``adapter(moved=False)``: a LoRA adapter as PEFT writes it; its B is zero unless moved."""

    def save(*, moved=True, kind=AutoModelForCausalLM, name="adapter", **options):
        options = {"target_modules": ["q_proj", "v_proj"]} | options
        folder = write_adapter(tmp_path / name, model_folder, size=0.3, kind=kind, **options)
        if not moved:
            zero_b(folder)
        return folder

    return save


@pytest.fixture
def settings(pairs_file, tmp_path):
    """``settings(adapter, base=None, seed=0)``: the configuration of a comparison."""

    def make(adapter, base=None, **options):
        keys = {"pairs": str(pairs_file), "adapter": str(adapter), "base": base and str(base)}
        return make_config("pairs", keys=keys, results=str(tmp_path / "results"), **options)

    return make


@pytest.fixture
def compare(settings):
    """Compare on ``pairs_file``; takes what ``settings`` takes."""
    return lambda *args, **options: comparison.compare(settings(*args, **options))
