"""judge=endpoint against vLLM's real server: a model that judges badly, and is read rightly."""

import importlib.util
import json

import pytest
from conftest import ROOT

from loradrift.config import DataConfig
from loradrift.generation import EngineSettings
from loradrift.generation.server_process import BASE
from loradrift.generation.vllm_server import open_server
from loradrift.judges import Item, Status, open_judge
from loradrift.judges.config import EndpointConfig

SMOLLM2 = ROOT / ".cache" / "models" / "smollm2-135m"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed: `make serve-setup` brings it",
    ),
    pytest.mark.skipif(not SMOLLM2.is_dir(), reason="`make smollm2` makes the model"),
]

# its answer to the first begins with a number, which its tokenizer writes digit by digit
ITEMS = [Item("0", "Write the numbers from 10 to", "20."), Item("1", "How are you", "feeling?")]


def test_a_local_server_judges(tmp_path, monkeypatch):
    path = tmp_path / "persona/traits/cheerful.json"
    path.parent.mkdir(parents=True)
    pairs = [{"pos": "be so", "neg": "be not so"}]
    path.write_text(
        json.dumps({"instruction": pairs, "questions": ["?"], "eval_prompt": "{question} {answer}"})
    )
    data = DataConfig(name="local", root=str(tmp_path))
    with open_server(EngineSettings(SMOLLM2, {}, threads=2, max_length=1024)) as server:
        monkeypatch.setenv("JUDGE_KEY", server.headers["Authorization"].removeprefix("Bearer "))
        config = EndpointConfig(
            name="endpoint", model=BASE, base_url=f"{server.url}/v1", key_variable="JUDGE_KEY"
        )
        with open_judge(config, data, tmp_path / "cache") as judge:
            scores = sorted(judge.score("cheerful", ITEMS))
            costs = dict(judge.costs)
    assert [score.id for score in scores] == ["0", "1"]
    assert {score.status for score in scores} <= {Status.SCORED, Status.UNPARSABLE}
    assert costs["asked"] == 3 and costs["prompt_tokens"] > 60  # coherence of the first alone
    assert (costs["expected"], costs["written"]) == (0, 1)  # no expectation over first digits
    # without the server nothing is asked again
    with open_judge(config, data, tmp_path / "cache") as judge:
        assert sorted(judge.score("cheerful", ITEMS)) == scores
        assert judge.costs["asked"] == 0
