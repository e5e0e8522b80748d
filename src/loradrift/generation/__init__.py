"""Engines that answer prompts: vLLM, its server, and transformers with PEFT; one protocol."""

from loradrift.generation.base import (
    Completion,
    Engine,
    EngineSettings,
    Intervention,
    Request,
    Sampling,
    open_engine,
)

__all__ = [
    "Completion", "Engine", "EngineSettings", "Intervention", "Request", "Sampling", "open_engine",
]  # fmt: skip
