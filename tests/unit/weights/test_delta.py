"""What is read from files is what PEFT merges and what full fine-tuning moved, or is refused."""

import shutil
from functools import partial

import adapter_cases as cases
import numpy as np
import pytest
import torch
from adapter_cases import load_base, write_adapter
from changes import dense, merged_change
from safetensors.torch import load_file, save_file

from loradrift.adapters import read_adapter
from loradrift.config import UserError
from loradrift.weights import Dora, LowRank, StoredWeights, read_change, read_full

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TRAINED = {"target_modules": LINEAR, "lora_alpha": 6, "size": 0.1}


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    """Square, tall and wide weights in float64, so that PEFT's own merge is exact; a head."""
    sizes = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    folder = tmp_path_factory.mktemp("delta") / "base"
    return cases.write_base(folder, "llama", dtype="float64", **sizes)


@pytest.fixture
def base(base_folder):
    return StoredWeights(base_folder)


@pytest.fixture
def adapter(base_folder, tmp_path):
    return write_adapter(tmp_path / "adapter", base_folder, **TRAINED)


refused = partial(pytest.raises, UserError)
PATTERNS = {
    "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 5, r"^model\.layers\.0.+v_proj": 3},
    "alpha_pattern": {"layers.1.mlp.up_proj": 7, "mlp.*": 11},
}
METHODS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "dora": {"use_dora": True},
    "patterns": PATTERNS,
    "rslora patterns": {"use_rslora": True, **PATTERNS},
    "dora patterns": {"use_dora": True, **PATTERNS},
}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)
def test_an_adapter_is_what_peft_merges(base_folder, base, tmp_path, options):
    folder = write_adapter(tmp_path / "adapter", base_folder, **TRAINED, **options)
    changes, expected = read_adapter(folder, base), merged_change(folder, base_folder)
    assert changes.keys() == expected.keys() and len(expected) == 14
    for module, change in changes.items():
        assert isinstance(change, Dora if "use_dora" in options else LowRank)
        found = dense(read_change(change))
        np.testing.assert_allclose(found, expected[module], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_converted_pissa_adapter_is_the_change_of_the_base(model_folder, tmp_path, rslora):
    options = TRAINED | {"init_lora_weights": "pissa", "use_rslora": rslora}
    folder = write_adapter(tmp_path / "converted", model_folder, **options)
    trained = write_adapter(tmp_path / "trained", model_folder, convert=False, **options)
    changes = read_adapter(folder, StoredWeights(model_folder))
    expected = merged_change(trained, model_folder)
    assert {change.rank for change in changes.values()} == {8} and changes.keys() == expected.keys()
    for module, change in changes.items():
        np.testing.assert_allclose(dense(change), expected[module], rtol=1e-4, atol=1e-6)


def test_an_adapter_needs_no_base_weights_and_both_kinds_name_modules_alike(adapter, base):
    alone, checked = read_adapter(adapter), read_adapter(adapter, base)
    assert alone.keys() == checked.keys() < read_full(base, base).modules.keys()


@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_full_fine_tuning_is_the_difference_of_folders(base_folder, base, tmp_path, shard_size):
    model = load_base(base_folder)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1e-3 * torch.randn(p.shape, generator=draw))
    model.float().save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "20KB")
    before, after = load_base(base_folder).state_dict(), model.state_dict()
    change = read_full(base, StoredWeights(tmp_path))
    parts = [f"self_attn.{name}" for name in LINEAR[:4]] + [f"mlp.{name}" for name in LINEAR[4:]]
    layers = {f"model.layers.{i}.{part}" for i in (0, 1) for part in parts}
    assert change.modules.keys() == {*layers, "lm_head"}
    found = {f"{name}.weight": x for name, x in change.modules.items()} | change.others
    assert found.keys() == before.keys()
    for key, x in found.items():
        assert torch.equal(x.read(), after[key].double() - before[key])


def edit(folder, edit_weights):
    """Save the folder's only safetensors file again, with other contents."""
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    edit_weights(weights)
    save_file(weights, path)


Q = "model.layers.0.self_attn.q_proj"
A, B = (f"base_model.model.{Q}.lora_{part}.weight" for part in "AB")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type must be LORA, got IA3"),
        ({"use_qalora": True}, r"use_qalora=True makes the change another one than scale \* B A"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4 took a part out"),
        ({"init_lora_weights": "olora"}, "init_lora_weights=olora took a part out"),
        ({"r": 3}, rf"{Q}: B \(32, 4\) and A \(4, 32\) in .* do not fit the rank 3"),
        ({"r": None}, "r must be a positive integer, got null"),
        ({"lora_alpha": 0}, "lora_alpha must be a positive number, got 0"),
        ({"use_dora": True}, f"lacks {Q}.lora_magnitude_vector, but use_dora=True"),
    ],
)
def test_a_configuration_under_which_the_factors_are_not_the_change(adapter, values, message):
    edit(adapter, lambda w: [w.pop(key) for key in list(w) if Q not in key])
    cases.edit(adapter, **values)
    with refused(match=message):
        read_adapter(adapter)


def test_dora_without_the_base_says_why(base_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base_folder, **TRAINED, use_dora=True)
    with refused(match="use_dora=true: its magnitudes rescale the rows of the base"):
        read_adapter(folder)
    cases.edit(folder, use_dora=False)
    with refused(match=r"holds model.*lora_magnitude_vector, but use_dora=False"):
        read_adapter(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop(A), f"has no lora_A for {Q}"),
        (lambda w: w.pop(B), f"has no lora_B for {Q}"),
        (lambda w: w.update(score=torch.ones(2)), "holds score, which is no LoRA factor"),
        (lambda w: w[A].fill_(torch.nan), r"q_proj\.lora_A\.weight holds NaN or infinity"),
        (lambda w: w.update({A: w[A][:, :5].clone()}), r"shape \(32, 5\), and .* has \(32, 32\)"),
        (lambda w: [w.update({key.replace("q_", "x_"): w.pop(key)}) for key in (A, B)],
         r"x_proj changes a weight of shape \(32, 32\), and .* has none there"),
        (dict.clear, "holds no LoRA factors"),
    ],
)  # fmt: skip
def test_factors_that_are_missing_extra_or_damaged(adapter, base, damage, message):
    edit(adapter, damage)
    with refused(match=message):
        read_adapter(adapter, base)


def test_adapter_files_that_cannot_be_read(adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with refused(match=r"adapter_model\.safetensors cannot be read: .*; copy the folder"):
        read_adapter(adapter)
    path.rename(adapter / "adapter_model.bin")
    with refused(match=r"adapter_model\.bin is neither a whole safetensors file nor a pickle"):
        read_adapter(adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with refused(match=r"adapter_config\.json is damaged: expected a JSON object"):
        read_adapter(adapter)
    (adapter / "adapter_config.json").unlink()
    with refused(match=r"adapter is no adapter: it has no adapter_config\.json"):
        read_adapter(adapter)


def test_folders_of_different_models_and_weights_that_diverged(base_folder, base, tmp_path):
    tuned = shutil.copytree(base_folder, tmp_path / "tuned")
    edit(tuned, lambda w: w["lm_head.weight"][0, 0].fill_(torch.inf))
    with refused(match=r"lm_head\.weight holds NaN or infinity"):
        StoredWeights(tuned).read("lm_head.weight")
    edit(tuned, lambda w: w.update({f"{Q}.weight": torch.ones(32, 31)}))
    with refused(match=r"q_proj\.weight has shape \(32, 32\) in .* and \(32, 31\)"):
        read_full(base, StoredWeights(tuned))
    edit(tuned, lambda w: [w.pop(f"{Q}.weight"), w.pop("lm_head.weight")])
    for sides in ((base, StoredWeights(tuned)), (StoredWeights(tuned), base)):
        with refused(match=r"tuned lacks lm_head\.weight and 1 more, which .* has: th"):
            read_full(*sides)
    shutil.copytree(base_folder, tuned, dirs_exist_ok=True)
    change = read_full(base, StoredWeights(tuned))
    (tuned / "model.safetensors").unlink()
    with refused(match=r"tuned/model\.safetensors cannot be read"):
        change.modules["lm_head"].read()  # which was not read before


def test_weights_that_are_not_there_and_an_index_that_lies(base_folder, base, tmp_path):
    with refused(match=r"holds no weights named lm_head\.wieght"):
        base.read("lm_head.wieght")
    with refused(match=r"neither model\.safetensors nor .*json; copy the folder here again, or"):
        StoredWeights(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with refused(match=r"pickles \(\*\.bin\) are not loaded, convert them"):
        StoredWeights(tmp_path)
    shutil.copy(base_folder / "model.safetensors", tmp_path / "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    for text, message in (
        ('{"weight_map": {"absent.weight": "one.safetensors"}}', r"names absent\.weight, which no"),
        ('{"weight_map": {"lm_head.weight": "two.safetensors"}}', r"two\.safetensors cannot be"),
        ("{}", "is damaged: it has no weight_map"),
    ):
        index.write_text(text)
        with refused(match=message):
            StoredWeights(tmp_path)
