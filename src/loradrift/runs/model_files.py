"""Names of the files of what a run has learned, in its folder ``model/``."""

ADAPTER_CONFIG = "adapter_config.json"
"""PEFT's, of an adapter."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The adapter's factors."""

HEAD = "head.safetensors"
"""What the task has on the backbone."""
