"""A model that is not what training takes it for is refused; others are left as they were."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MixtralConfig,
    OPTConfig,
)

from loradrift.config import FullFinetuneConfig, LoraConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import Backbone, Classifier, trainable_parameters, try_out

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
}  # fmt: skip
IDS = torch.tensor([[1, 40, 41, 42, 43, 44, 45, 46], [1, 50, 51, 3, 3, 3, 3, 3]])
LORA = LoraConfig(name="lora", rank=2, alpha=4)


def build(config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Backbone(AutoModelForCausalLM.from_config(config, attn_implementation="eager"))


def tried(backbone, **options):
    try_out(backbone, "here", IDS, 3, **options)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES, is_causal=False, initializer_range=0.2),
        BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2),
    ],
    ids=["llama", "bert"],
)
def test_a_model_whose_tokens_see_padding_is_refused(config):
    with pytest.raises(UserError, match=r"^model.path=here cannot be used: a padded row's states"):
        tried(build(config))


def test_positions_that_depend_on_the_longest_row_are_refused():
    scales = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 6}
    config = LlamaConfig(**SIZES, initializer_range=0.2, rope_parameters=rope | scales)
    with pytest.raises(UserError, match="or positions depend on the longest row"):
        tried(build(config))
    try_out(build(config), "here", IDS[:, :6], 3)  # up to the length at which they change


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES),
        GraniteConfig(**SIZES, logits_scaling=8.0, embedding_multiplier=3.0),
        CohereConfig(**SIZES, logit_scale=0.25),
        Gemma2Config(**SIZES, final_logit_softcapping=0.01),
    ],
    ids=lambda config: config.model_type,
)
def test_scores_of_next_tokens_are_the_models_own(config):
    backbone = build(config).eval()
    with torch.no_grad():
        own = backbone.causal_lm(IDS).logits
        torch.testing.assert_close(backbone.next_token_logits(backbone.encode(IDS)), own)
    tried(backbone)


def test_scores_that_are_not_the_output_layers_are_refused_where_they_are_read():
    backbone = build(BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, is_decoder=True
    ))  # fmt: skip
    backbone.freeze_output_head()
    with pytest.raises(UserError, match="its scores of next tokens are not its output layer's"):
        tried(backbone)
    tried(backbone, reads_logits=False)


def test_a_decoder_whose_embeddings_are_narrower_than_its_states_takes_a_head():
    size = {"num_attention_heads": 2, "num_hidden_layers": 2, "ffn_dim": 48, "vocab_size": 64}
    backbone = build(OPTConfig(**size, hidden_size=32, word_embed_proj_dim=16))
    tried(backbone)
    logits = Classifier(backbone, 2, seed=0)(IDS, IDS != 3)
    assert backbone.width == 16 and logits.shape == (2, 2)


def test_what_trains_without_an_effect_is_refused():
    backbone = build(LlamaConfig(**SIZES))
    backbone.causal_lm.model.unused = torch.nn.Linear(2, 2)
    message = "2 of the 23 parameters that should train change nothing in its states, model.unused"
    with pytest.raises(UserError, match=message):
        tried(backbone)
    make_trainable(backbone, LORA, seed=0)
    hint = (
        r"unused.lora_A.default.weight among them; leave model.unused out of method.target_modules"
    )
    with pytest.raises(UserError, match=hint):
        tried(backbone)


def test_a_forward_pass_that_fails_is_one_line():
    backbone = build(GPT2Config(vocab_size=64, n_positions=4, n_embd=32, n_layer=2, n_head=2))
    with pytest.raises(
        UserError, match=r"^model.path=here cannot be used: its forward pass fails: .*$"
    ):
        tried(backbone)


@pytest.mark.parametrize("method", [LORA, FullFinetuneConfig(name="full_finetune")])
def test_a_model_that_is_tried_is_as_before(method):
    backbone = build(LlamaConfig(**SIZES, attention_dropout=0.5)).train()
    make_trainable(backbone, method, seed=0)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    tried(backbone)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in backbone.modules())
    assert all(p.grad is None for p in backbone.parameters())
    after = backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_experts_stacked_weights_are_left_alone_and_the_other_layers_adapted():
    backbone = build(MixtralConfig(**SIZES, num_local_experts=4))
    make_trainable(backbone, LORA, seed=0)
    adapted = {
        name.split(".lora_")[0].rpartition(".")[2] for name in trainable_parameters(backbone)
    }
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert not backbone.lm.peft_config["default"].target_parameters
    tried(backbone)
