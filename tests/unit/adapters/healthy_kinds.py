"""Healthy adapters: every kind that PEFT writes, on models of texts of many architectures."""

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """An adapter, and what its certificate says."""

    config: dict[str, Any]
    """Of ``LoraConfig``, beside the architecture's own targets; ``labels`` is the head's size,
    ``convert`` whether a start is put back, ``prepare`` how the start is measured."""

    head: str = ""
    """Class of transformers, where it is not the architecture's own."""

    unjudged: str = ""
    """How the verdict begins where nothing can be said; empty where it passes."""


REBUILT = "consistent: not judged: {} is set in adapter_config.json"
NOT_PLAIN = "effect: not judged: this kind of LoRA adds something else than B A"
KINDS: dict[str, dict[str, Kind]] = {
    "llama": {
        "plain": Kind({}),
        "saved head": Kind({"modules_to_save": ["lm_head"]}),
        "saved norm by its dotted name": Kind({"modules_to_save": ["model.norm"]}),
        "saved norms of every layer": Kind({"modules_to_save": ["input_layernorm"]}),
        "saved block part": Kind({"modules_to_save": ["layers.1.mlp"]}),
        "saved embedding": Kind({"modules_to_save": ["embed_tokens"]}),
        "saved embedding and head": Kind({"modules_to_save": ["embed_tokens", "lm_head"]}),
        "rows of the embedding": Kind({"trainable_token_indices": [1, 2, 40]}),
        "rows by name": Kind({"trainable_token_indices": {"embed_tokens": [3, 1]}}),
        "rows of two": Kind({"trainable_token_indices": {"embed_tokens": [3, 1], "lm_head": [0]}}),
        "embedding": Kind({"target_modules": ["embed_tokens"]}),
        "embedding dora": Kind({"target_modules": ["embed_tokens"], "use_dora": True}),
        "embedding and q": Kind({"target_modules": ["embed_tokens", "q_proj"]}),
        "lm_head": Kind({"target_modules": ["lm_head", "q_proj"]}),
        "all-linear": Kind({"target_modules": "all-linear"}),
        "regex": Kind({"target_modules": r"model\.layers\.\d+\.self_attn\.(q|k)_proj"}),
        "excluded by regex": Kind({"exclude_modules": r".*layers\.0.*"}),
        "excluded by list": Kind({"exclude_modules": ["layers.0.self_attn.q_proj"]}),
        "all v excluded": Kind({"exclude_modules": ["v_proj"]}),
        "all-linear but one": Kind(
            {"target_modules": "all-linear", "exclude_modules": ["gate_proj"]}
        ),
        "one layer": Kind({"layers_to_transform": 1}),
        "layers by pattern": Kind({"layers_to_transform": [0], "layers_pattern": "layers"}),
        "rank pattern": Kind({"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 6}}),
        "rank pattern regex": Kind({"rank_pattern": {r"^model\.layers\.0\..*": 2}}),
        "alpha pattern": Kind({"alpha_pattern": {"q_proj": 3}, "use_rslora": True}),
        "rslora": Kind({"use_rslora": True}),
        "dora": Kind({"use_dora": True}),
        "dora mlp": Kind({"use_dora": True, "target_modules": ["gate_proj", "down_proj"]}),
        "lora_bias": Kind({"lora_bias": True}),
        "init false": Kind({"init_lora_weights": False}),
        "gaussian": Kind({"init_lora_weights": "gaussian"}),
        "pissa": Kind({"init_lora_weights": "pissa"}),
        "pissa rslora as it is": Kind(
            {"init_lora_weights": "pissa", "convert": False, "use_rslora": True}
        ),
        "pissa pattern as it is": Kind(
            {"init_lora_weights": "pissa", "convert": False, "rank_pattern": {"q_proj": 2}}
        ),
        "olora": Kind({"init_lora_weights": "olora"}),
        "olora as it is": Kind({"init_lora_weights": "olora", "convert": False}),
        "orthogonal": Kind({"init_lora_weights": "orthogonal"}),
        "mica": Kind({"init_lora_weights": "mica"}),
        "eva": Kind({"init_lora_weights": "eva"}),
        "eva initialized": Kind({"init_lora_weights": "eva", "prepare": "eva"}),
        "lora_ga": Kind({"init_lora_weights": "lora_ga", "prepare": "lora_ga"}),
        "dropout": Kind({"lora_dropout": 0.3}),
        "layer replication": Kind(
            {"layer_replication": [(0, 2), (1, 2)]}, unjudged=REBUILT.format("layer_replication")
        ),
        "target parameters alone": Kind(
            {"target_parameters": ["mlp.gate_proj.weight"], "target_modules": []},
            unjudged=REBUILT.format("target_parameters"),
        ),
        "alora": Kind(
            {"alora_invocation_tokens": [41], "task_type": "CAUSAL_LM"}, unjudged=NOT_PLAIN
        ),
        "velora": Kind({"velora_config": {}}),
        "kasa": Kind({"kasa_config": {}}, unjudged=REBUILT.format("kasa_config")),
        "monteclora": Kind({"monteclora_config": {}}, unjudged=NOT_PLAIN),
        "bdlora": Kind(
            {
                "use_bdlora": {
                    "target_modules_bd_a": ["q_proj"],
                    "target_modules_bd_b": [],
                    "nblocks": 2,
                    "match_strict": False,
                }
            },
            unjudged=REBUILT.format("use_bdlora"),
        ),
        "causal LM": Kind({"task_type": "CAUSAL_LM"}),
        "feature extraction": Kind({"task_type": "FEATURE_EXTRACTION"}, "LlamaModel"),
        "bare": Kind({}, "LlamaModel"),
        "classifier": Kind({"task_type": "SEQ_CLS"}, "LlamaForSequenceClassification"),
        "classifier of 5": Kind(
            {"task_type": "SEQ_CLS", "labels": 5}, "LlamaForSequenceClassification"
        ),
        "token classifier": Kind({"task_type": "TOKEN_CLS"}, "LlamaForTokenClassification"),
        "question answering": Kind({"task_type": "QUESTION_ANS"}, "LlamaForQuestionAnswering"),
        "no task type, classifier": Kind(
            {"modules_to_save": ["score"]}, "LlamaForSequenceClassification"
        ),
    },
    "llama tied": {
        "plain": Kind({}),
        "embedding": Kind({"target_modules": ["embed_tokens"]}),
        "embedding tying": Kind({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}),
        "lm_head": Kind({"target_modules": ["lm_head"]}),
        "rows": Kind({"trainable_token_indices": [1, 2, 40]}),
        "saved embedding": Kind({"modules_to_save": ["embed_tokens"]}),
        "saved embedding tying": Kind(
            {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
        ),
        "saved lm_head": Kind({"modules_to_save": ["lm_head"]}),
    },
    "llama biases": {
        "all": Kind({"bias": "all"}),
        "lora_only": Kind({"bias": "lora_only"}),
        "dora all": Kind({"bias": "all", "use_dora": True}),
    },
    "qwen3": {
        "plain": Kind({}),
        "dora all-linear": Kind({"use_dora": True, "target_modules": "all-linear"}),
        "rows": Kind({"trainable_token_indices": [1, 2, 40]}),
    },
    "gemma2": {
        "plain": Kind({}),
        "embedding": Kind({"target_modules": ["embed_tokens"]}),
    },
    "gpt2": {
        "plain": Kind({"fan_in_fan_out": True}),
        "without the flag": Kind({}),
        "dora": Kind({"use_dora": True, "fan_in_fan_out": True}),
        "pissa as it is": Kind(
            {"init_lora_weights": "pissa", "convert": False, "fan_in_fan_out": True}
        ),
        "bias all": Kind({"bias": "all", "fan_in_fan_out": True}),
        "wte": Kind({"target_modules": ["wte", "c_attn"], "fan_in_fan_out": True}),
        "classifier": Kind(
            {"task_type": "SEQ_CLS", "fan_in_fan_out": True}, "GPT2ForSequenceClassification"
        ),
        "token classifier": Kind(
            {"task_type": "TOKEN_CLS", "fan_in_fan_out": True}, "GPT2ForTokenClassification"
        ),
    },
    "opt": {
        "plain": Kind({}),
        "all-linear bias all": Kind({"target_modules": "all-linear", "bias": "all"}),
        "fc rslora": Kind({"target_modules": ["fc1", "fc2"], "use_rslora": True}),
    },
    "gpt_neox": {
        "plain": Kind({}),
        "embed_in": Kind({"target_modules": ["embed_in", "dense"]}),
    },
    "mixtral": {
        "plain": Kind({}),
        "all-linear": Kind(
            {"target_modules": "all-linear"}, unjudged=REBUILT.format("target_parameters")
        ),
        "router": Kind({"target_modules": ["gate"]}, unjudged=REBUILT.format("target_parameters")),
        "experts": Kind(
            {"target_parameters": ["mlp.experts.gate_up_proj"]},
            unjudged=REBUILT.format("target_parameters"),
        ),
    },
    "mamba": {
        "plain": Kind({}),
    },
    "bert": {
        "masked LM": Kind({}),
        "masked LM saved head": Kind({"modules_to_save": ["cls"]}),
        "masked LM saved decoder": Kind({"modules_to_save": ["decoder"]}),
        "classifier": Kind({"task_type": "SEQ_CLS"}, "BertForSequenceClassification"),
        "token classifier": Kind({"task_type": "TOKEN_CLS"}, "BertForTokenClassification"),
        "question answering": Kind({"task_type": "QUESTION_ANS"}, "BertForQuestionAnswering"),
        "features": Kind({"task_type": "FEATURE_EXTRACTION"}, "BertModel"),
        "pooler": Kind({"target_modules": ["query", "pooler.dense"]}, "BertModel"),
        "saved pooler": Kind({"modules_to_save": ["pooler"]}, "BertModel"),
        "next sentence": Kind({"modules_to_save": ["cls"]}, "BertForNextSentencePrediction"),
        "dense": Kind({"target_modules": ["dense"]}),
        "all embeddings": Kind({"target_modules": ["word_embeddings", "position_embeddings"]}),
        "bias": Kind({"bias": "all"}),
    },
    "roberta": {
        "classifier": Kind({"task_type": "SEQ_CLS"}),
        "classifier of 4": Kind({"task_type": "SEQ_CLS", "labels": 4}),
        "classifier by hand": Kind({"modules_to_save": ["classifier"]}),
        "head's parts": Kind({"modules_to_save": ["classifier.dense", "classifier.out_proj"]}),
        "adapted head": Kind(
            {
                "target_modules": ["query", "classifier.dense"],
                "modules_to_save": ["classifier.out_proj"],
            }
        ),
        "adapted head 2": Kind({"target_modules": "all-linear", "task_type": "SEQ_CLS"}),
        "dense as target": Kind({"target_modules": ["dense"], "task_type": "SEQ_CLS"}),
        "tokens": Kind({"task_type": "TOKEN_CLS"}, "RobertaForTokenClassification"),
        "questions": Kind({"task_type": "QUESTION_ANS"}, "RobertaForQuestionAnswering"),
        "masked": Kind({}, "RobertaForMaskedLM"),
        "causal": Kind({"task_type": "CAUSAL_LM"}, "RobertaForCausalLM"),
    },
    "distilbert": {
        "plain": Kind({"task_type": "SEQ_CLS"}),
        "pre_classifier": Kind(
            {"task_type": "SEQ_CLS", "modules_to_save": ["pre_classifier", "classifier"]}
        ),
        "questions": Kind({"task_type": "QUESTION_ANS"}, "DistilBertForQuestionAnswering"),
    },
    "deberta": {
        "plain": Kind({"task_type": "SEQ_CLS"}),
        "pooler": Kind({"task_type": "SEQ_CLS", "modules_to_save": ["pooler", "classifier"]}),
    },
    "t5": {
        "plain": Kind({"task_type": "SEQ_2_SEQ_LM"}),
        "dora": Kind({"use_dora": True, "task_type": "SEQ_2_SEQ_LM"}),
        "all-linear": Kind({"task_type": "SEQ_2_SEQ_LM", "target_modules": "all-linear"}),
        "rows": Kind({"task_type": "SEQ_2_SEQ_LM", "trainable_token_indices": {"shared": [1, 40]}}),
        "encoder": Kind({"task_type": "FEATURE_EXTRACTION"}, "T5EncoderModel"),
        "classifier": Kind({"task_type": "SEQ_CLS"}, "T5ForSequenceClassification"),
    },
    "bart": {
        "plain": Kind({"task_type": "SEQ_2_SEQ_LM"}),
        "no task": Kind({}),
        "classifier": Kind({"task_type": "SEQ_CLS"}, "BartForSequenceClassification"),
    },
}
