"""What vLLM says has answered is passed on; vLLM is not needed here."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from loradrift.generation import EngineSettings, Request, Sampling
from loradrift.generation.vllm_offline import VllmEngine


class SimulatedVllm:
    """``LLMEngine``, one step; it may answer with another adapter than it is given."""

    def __init__(self, instead=None):
        self.instead, self.given = instead or {}, {}

    def add_request(self, key, prompt, params, lora_request=None):
        self.given[key] = lora_request

    def has_unfinished_requests(self):
        return bool(self.given)

    def abort_request(self, keys):
        self.given.clear()

    def step(self):
        done, self.given = self.given, {}
        return [
            SimpleNamespace(
                request_id=key,
                outputs=[SimpleNamespace(token_ids=[7])],
                lora_request=self.instead.get(given and given.lora_name, given),
            )
            for key, given in done.items()
        ]


@pytest.fixture
def engine(monkeypatch, model_folder):
    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.SamplingParams = lambda **given: given
    params.RequestOutputKind = SimpleNamespace(DELTA=0)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    monkeypatch.setattr(VllmEngine, "check", lambda self, requests, *, max_tokens: None)

    def start(**instead):
        llm = SimpleNamespace(llm_engine=SimulatedVllm(instead))
        opened = VllmEngine(EngineSettings(model_folder), llm, 8)
        opened._adapters = {name: SimpleNamespace(lora_name=name) for name in ("a", "b")}
        return opened

    return start


ASKED = [Request(str(i), (1, 2), name) for i, name in enumerate(["a", None, "b"])]


def served(engine) -> list[str | None]:
    return [each.served for each in engine.generate(ASKED, Sampling(max_tokens=1))]


def test_the_request_s_own_adapter_is_what_was_served(engine):
    assert served(engine()) == ["a", None, "b"]


def test_another_adapter_or_none_shows(engine):
    assert served(engine(a=SimpleNamespace(lora_name="b"))) == ["b", None, "b"]
    opened = engine()
    opened._llm.llm_engine.step = lambda step=opened._llm.llm_engine.step: [
        SimpleNamespace(**vars(each) | {"lora_request": None}) for each in step()
    ]
    assert served(opened) == [None, None, None]


def test_an_adapter_that_is_not_loaded_is_never_the_base_model(engine):
    opened = engine()
    del opened._adapters["b"]
    with pytest.raises(Exception, match="b"):
        served(opened)
