"""Healthy adapters on models of images, films and sounds."""

from healthy_kinds import Kind

SEEN_BY_NONE = (
    "effect: not judged: head.attention and 1 more is changed inside nn.MultiheadAttention"
)

KINDS: dict[str, dict[str, Kind]] = {
    "vit": {
        "plain": Kind({"modules_to_save": ["classifier"]}),
        "no head": Kind({}, "ViTModel"),
        "patches": Kind({"target_modules": ["projection"]}),
        "patches dora": Kind({"target_modules": ["projection", "q_proj"], "use_dora": True}),
        "dense": Kind({"target_modules": ["q_proj", "fc1"], "modules_to_save": ["classifier"]}),
    },
    "resnet": {
        "plain": Kind({"modules_to_save": ["classifier"]}),
        "dora": Kind({"modules_to_save": ["classifier"], "use_dora": True}),
        "bn": Kind({"modules_to_save": ["classifier", "normalization"]}),
        "dotted head": Kind({"modules_to_save": ["classifier.1"]}),
        "adapted head": Kind({"target_modules": ["convolution", "classifier.1"]}),
    },
    "convnext": {
        "plain": Kind({"modules_to_save": ["classifier"]}),
        "depthwise": Kind({"target_modules": ["dwconv"], "r": 16}),
    },
    "siglip": {
        "plain": Kind({}),
        "MultiheadAttention": Kind({"target_modules": ["attention"]}, unjudged=SEEN_BY_NONE),
    },
    "videomae": {
        "plain": Kind({"modules_to_save": ["classifier"]}),
        "conv3d": Kind({"target_modules": ["projection", "q_proj"]}),
    },
    "wav2vec2": {
        "plain": Kind({}),
        "lm_head": Kind({"modules_to_save": ["lm_head"]}),
        "conv1d": Kind({"target_modules": ["conv"]}),
        "classifier": Kind(
            {"modules_to_save": ["projector", "classifier"]}, "Wav2Vec2ForSequenceClassification"
        ),
    },
    "whisper": {
        "plain": Kind({}),
        "all-linear": Kind({"target_modules": "all-linear"}),
        "saved proj_out": Kind({"modules_to_save": ["proj_out"]}),
    },
}
