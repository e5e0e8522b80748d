"""What is read from files is what PEFT merges, and what full fine-tuning moved."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from loradrift.config import UserError
from loradrift.weights import Dora, LowRank, StoredWeights, read_adapter, read_change, read_full

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PATTERNS = {
    "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 5, r"^model\.layers\.0.+v_proj": 3},
    "alpha_pattern": {"layers.1.mlp.up_proj": 7, "mlp.*": 11},
}


def lora(**options):
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=LINEAR, **options)


@torch.no_grad()
def move_factors(model) -> None:
    draw = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.add_(0.1 * torch.randn(p.shape, generator=draw))


def merged_change(model, load_base) -> dict[str, torch.Tensor]:
    """By PEFT's own merge, against the base model as it was."""
    base = load_base().state_dict()
    merged = model.merge_and_unload().state_dict()
    return {
        key.removesuffix(".weight"): merged[key] - base[key]
        for key in base
        if not torch.equal(merged[key], base[key])
    }


def dense(change: LowRank | torch.Tensor) -> torch.Tensor:
    return change.scale * change.B_OR @ change.A_RI if isinstance(change, LowRank) else change


@pytest.fixture
def saved(load_base, tmp_path):
    """``saved(config)``: the folder of a trained adapter, and the change that PEFT merges."""
    from peft import get_peft_model

    def save(config):
        model = get_peft_model(load_base(), config)
        move_factors(model)
        model.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter", merged_change(model, load_base)

    return save


@pytest.fixture
def adapter(saved):
    return saved(lora())[0]


@pytest.fixture
def base(base_folder):
    return StoredWeights(base_folder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        PATTERNS,
        {"use_rslora": True, **PATTERNS},
        {"init_lora_weights": "gaussian"},
        {"use_dora": True},
        {"use_dora": True, **PATTERNS},
    ],
    ids=["lora", "rslora", "patterns", "rslora patterns", "gaussian", "dora", "dora patterns"],
)
def test_an_adapter_is_what_peft_merges(saved, base, options):
    folder, expected = saved(lora(**options))
    changes = read_adapter(folder, base)
    assert changes.keys() == expected.keys() and len(expected) == 14
    for module, change in changes.items():
        assert isinstance(change, Dora if "use_dora" in options else LowRank)
        torch.testing.assert_close(
            dense(read_change(change)), expected[module], rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("rslora", [False, True])
def test_a_converted_pissa_adapter_is_the_change_of_the_unchanged_base(
    load_base, base, tmp_path, rslora
):
    from peft import get_peft_model

    model = get_peft_model(load_base().float(), lora(init_lora_weights="pissa", use_rslora=rslora))
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "initial")
    model.peft_config["default"].init_lora_weights = "pissa"
    move_factors(model)
    initial = str(tmp_path / "initial")
    model.save_pretrained(tmp_path / "a", path_initial_model_for_weight_conversion=initial)
    changes = read_adapter(tmp_path / "a", base)
    expected = merged_change(model, load_base)
    assert {change.rank for change in changes.values()} == {8}
    for module, change in changes.items():
        torch.testing.assert_close(dense(change), expected[module], rtol=1e-4, atol=1e-6)


def test_an_adapter_needs_no_base_weights(adapter, base):
    alone, checked = read_adapter(adapter), read_adapter(adapter, base)
    assert alone.keys() == checked.keys()


@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_full_fine_tuning_is_the_difference_of_two_folders(load_base, base, tmp_path, shard_size):
    model = load_base()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1e-3 * torch.randn(p.shape, generator=draw))
    model.float().save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "20KB")
    before, after = load_base().state_dict(), model.state_dict()
    change = read_full(base, StoredWeights(tmp_path))
    layers = {
        f"model.layers.{i}.{part}"
        for i in (0, 1)
        for part in (
            *(f"self_attn.{name}" for name in LINEAR[:4]),
            *(f"mlp.{name}" for name in LINEAR[4:]),
        )
    }
    assert change.modules.keys() == {*layers, "lm_head"}
    found = {f"{name}.weight": x for name, x in change.modules.items()} | change.others
    assert found.keys() == before.keys()
    for key, x in found.items():
        assert torch.equal(x.read(), after[key].double() - before[key])


def test_both_kinds_name_modules_alike(adapter, base):
    assert read_adapter(adapter).keys() < read_full(base, base).modules.keys()


def test_values_are_read_when_asked_for(base_folder, base, tmp_path):
    tuned = shutil.copytree(base_folder, tmp_path / "tuned")
    change = read_full(base, StoredWeights(tuned))
    (tuned / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"tuned/model\.safetensors cannot be read"):
        change.modules["lm_head"].read()


def edit(folder, edit_weights):
    """Save the folder's only safetensors file again, with other contents."""
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    edit_weights(weights)
    save_file(weights, path)


def edit_config(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


Q = "model.layers.0.self_attn.q_proj"
A, B = (f"base_model.model.{Q}.lora_{part}.weight" for part in "AB")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type must be LORA, got IA3"),
        ({"use_qalora": True}, r"use_qalora=True makes the change another one than scale \* B A"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=True makes the change another"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4 took a part out"),
        ({"init_lora_weights": "olora"}, "init_lora_weights=olora took a part out"),
        ({"r": 3}, rf"{Q} has factors B \(32, 4\) and A \(4, 32\), which do not fit the rank 3"),
        ({"r": None}, f"r of {Q} must be positive, got None"),
        ({"lora_alpha": 0}, f"lora_alpha of {Q} must be positive, got 0"),
        ({"use_dora": True}, f"has no lora_magnitude_vector for {Q}"),
    ],
)
def test_a_configuration_under_which_the_factors_are_not_the_change(adapter, values, message):
    edit(adapter, lambda w: [w.pop(key) for key in list(w) if Q not in key])
    edit_config(adapter, **values)
    with pytest.raises(UserError, match=message):
        read_adapter(adapter)


def test_dora_without_the_base_says_why(saved):
    folder, _ = saved(lora(use_dora=True))
    with pytest.raises(
        UserError, match="use_dora=true: its magnitudes rescale the rows of the base"
    ):
        read_adapter(folder)
    edit_config(folder, use_dora=False)
    with pytest.raises(UserError, match="has, without use_dora, a lora_magnitude_vector for model"):
        read_adapter(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop(A), f"has no lora_A for {Q}"),
        (lambda w: w.pop(B), f"has no lora_B for {Q}"),
        (lambda w: w.update(score=torch.ones(2)), "holds score, which is no LoRA factor"),
        (
            lambda w: w.update({A: w[A] * torch.nan}),
            r"q_proj\.lora_A\.weight holds NaN or infinity",
        ),
        (lambda w: w.update({A: w[A][:, :5].clone()}), r"shape \(32, 5\), and .* has \(32, 32\)"),
        (
            lambda w: w.update({A.replace("q_", "x_"): w.pop(A), B.replace("q_", "x_"): w.pop(B)}),
            r"x_proj changes a weight of shape \(32, 32\), and .* has none there",
        ),
        (dict.clear, "holds no tensors"),
    ],
)
def test_factors_that_are_missing_extra_or_damaged(adapter, base, damage, message):
    edit(adapter, damage)
    with pytest.raises(UserError, match=message):
        read_adapter(adapter, base)


def test_adapter_files_that_cannot_be_read(adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"adapter_model\.safetensors cannot be read"):
        read_adapter(adapter)
    path.rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.bin is a pickle, which is not loaded"):
        read_adapter(adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"adapter_config\.json is damaged: expected a JSON object"):
        read_adapter(adapter)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(UserError, match=r"adapter_config\.json cannot be read: .*No such file"):
        read_adapter(adapter)


def test_folders_of_different_models(base_folder, base, tmp_path):
    tuned = shutil.copytree(base_folder, tmp_path / "tuned")
    edit(tuned, lambda w: w.update({f"{Q}.weight": torch.ones(32, 31)}))
    with pytest.raises(
        UserError, match=r"q_proj\.weight has shape \(32, 32\) in .* and \(32, 31\)"
    ):
        read_full(base, StoredWeights(tuned))
    edit(tuned, lambda w: [w.pop(f"{Q}.weight"), w.pop("lm_head.weight")])
    with pytest.raises(
        UserError, match=r"tuned lacks lm_head\.weight and 1 more, which .* has: th"
    ):
        read_full(base, StoredWeights(tuned))
    with pytest.raises(UserError, match=r"tuned lacks lm_head\.weight and 1 more, which .* has"):
        read_full(StoredWeights(tuned), base)


def test_weights_that_are_not_there(base, tmp_path):
    with pytest.raises(UserError, match=r"holds no weights named lm_head\.wieght"):
        base.read("lm_head.wieght")
    with pytest.raises(UserError, match=r"holds neither model\.safetensors nor .*json$"):
        StoredWeights(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match=r"pickles \(\*\.bin\) are not loaded, convert them"):
        StoredWeights(tmp_path)


def test_an_index_that_lies(base_folder, tmp_path):
    shutil.copy(base_folder / "model.safetensors", tmp_path / "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"absent.weight": "one.safetensors"}}')
    with pytest.raises(UserError, match=r"index\.json names absent\.weight, which no shard holds"):
        StoredWeights(tmp_path)
    index.write_text('{"weight_map": {"lm_head.weight": "two.safetensors"}}')
    with pytest.raises(UserError, match=r"two\.safetensors cannot be read"):
        StoredWeights(tmp_path)
    index.write_text("{}")
    with pytest.raises(UserError, match="is damaged: it has no weight_map"):
        StoredWeights(tmp_path)


def test_weights_that_diverged(base_folder, tmp_path):
    tuned = shutil.copytree(base_folder, tmp_path / "tuned")
    edit(tuned, lambda w: w["lm_head.weight"][0, 0].fill_(torch.inf))
    with pytest.raises(UserError, match=r"lm_head\.weight holds NaN or infinity"):
        StoredWeights(tuned).read("lm_head.weight")
