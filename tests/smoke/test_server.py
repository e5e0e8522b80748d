"""engine=vllm_server against a stand-in for vLLM's server, whose answers are known."""

import json
import os
import socket
import time
from pathlib import Path

import pytest
from adapter_cases import write_adapter
from fake_openai import true_tokens

from loradrift.config import UserError
from loradrift.generation import EngineSettings, Intervention, Request, Sampling, vllm_server
from loradrift.generation import server_process as process
from loradrift.generation import vllm_rules as rules

PROMPTS = [(1, 2, 3), (4, 5), (6,)]
FOUR = Sampling(max_tokens=4)


@pytest.fixture
def fake(monkeypatch):
    """Have the stand-in started in place of vLLM, with faults."""
    # what the stand-in imports must not depend on what is installed
    monkeypatch.setattr(process, "MODULE", "fake_openai")
    monkeypatch.setattr(rules, "check_installed", lambda engine: None)
    monkeypatch.setattr(vllm_server, "_check_build", lambda accelerator: None)
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("VLLM_API_KEY", "the user's own")
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there

    def set_faults(**faults):
        monkeypatch.setenv("FAKE", json.dumps(faults))

    return set_faults


@pytest.fixture(scope="session")
def adapter(model_folder, tmp_path_factory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("served") / "adapter", model_folder)


@pytest.fixture
def settings(model_folder, adapter) -> EngineSettings:
    adapters = {"sst2": adapter, "mrpc-seed=2": adapter}
    return EngineSettings(model_folder, adapters, threads=1, max_length=32)


@pytest.fixture
def opened(fake, settings, tmp_path):
    """Starts a server with faults; nothing of it is left at the end."""

    def start(adapters=settings.adapters, *, port=None, start_timeout_s=20.0, **faults):
        fake(**faults)
        own = EngineSettings(settings.model, adapters, threads=1, max_length=32)
        return vllm_server.open_server(
            own, port=port, start_timeout_s=start_timeout_s, log=tmp_path / "server.log"
        )

    yield start
    assert not [line for line in commands() if "fake_openai" in line]


def commands() -> list[str]:
    """What runs on this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def requests(*adapters):
    return [Request(str(i), PROMPTS[i], adapter) for i, adapter in enumerate(adapters)]


def test_every_answer_is_the_asked_model_s_with_a_time_for_each_token(opened):
    asked = requests(None, "sst2", "mrpc-seed=2")
    with opened(token_s=0.02) as server:
        began = time.perf_counter()
        completions = server.generate(asked, FOUR)
        wall = time.perf_counter() - began
    names = ["base", "sst2", "mrpc-seed=2"]
    for completion, request, name in zip(completions, asked, names, strict=True):
        assert completion.id == request.id
        assert completion.served == request.adapter
        assert completion.token_ids == tuple(true_tokens(name, list(request.prompt_ids), 4))
        times = completion.token_times_s
        # the server waits before each token: a time may be late, but not early
        assert all(each > 0.02 * (i + 1) for i, each in enumerate(times))
        assert sorted(times) == list(times)
        assert times[-1] < wall
    assert 0 < server.start_s < 20


def test_how_it_is_started_and_that_no_file_holds_its_key(opened, tmp_path):
    with opened() as server:
        key = server.headers["Authorization"].removeprefix("Bearer ")
    said = (tmp_path / "server.log").read_text()
    assert len(key) > 30
    assert key not in said
    started = json.loads(said.splitlines()[0])
    line = " ".join(started["argv"])
    for flags in (
        "--host 127.0.0.1",
        "--dtype float32",
        "--max-loras 3",  # one slot more than adapters: base rows are right there
        "--max-lora-rank 8",
        "--enable-lora",
        "--enforce-eager",
        "--no-enable-prefix-caching",
        "--no-skip-tokenizer-init",
        "--kv-cache-memory-bytes 268435456",
    ):
        assert f" {flags} " in f" {line} "
    assert '{"name": "mrpc-seed=2", "path": "' in line
    assert started["env"] == {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }


def test_log_likelihoods_are_the_sums_over_the_prompt(opened):
    with opened() as server:
        assert server.log_likelihoods(requests(None, "sst2")) == [-0.5 * (2 + 3), -0.5 * 5]


def test_adapters_come_and_go_while_it_runs(opened, adapter):
    with opened() as server:
        assert server.load_adapter("rte", adapter) == server.load_s["rte"] > 0
        assert server.generate(requests("rte"), FOUR)[0].served == "rte"
        with pytest.raises(UserError, match="has an adapter rte already; unload it first"):
            server.load_adapter("rte", adapter)
        with pytest.raises(UserError, match="adapter base: the server calls its base model so"):
            server.load_adapter("base", adapter)
        server.unload_adapter("rte")
        with pytest.raises(UserError, match="asks for the adapter rte, which the engine does not"):
            server.generate(requests("rte"), FOUR)
        with pytest.raises(UserError, match="the engine has no adapter rte"):
            server.unload_adapter("rte")


def test_a_server_without_lora_has_no_adapters(opened, adapter):
    with opened({}) as server:
        assert server.generate(requests(None), FOUR)[0].served is None
        with pytest.raises(UserError, match="adapter sst2: the engine was started without LoRA"):
            server.load_adapter("sst2", adapter)


def test_a_server_that_names_another_model_is_quoted(opened):
    with opened(says="mrpc-seed=2") as server:
        assert [each.served for each in server.generate(requests(None, "sst2"), FOUR)] == [
            "mrpc-seed=2"
        ] * 2
    with opened(says="base") as server:
        assert server.generate(requests("sst2"), FOUR)[0].served is None


def test_requests_that_it_cannot_answer(opened, model_folder, adapter):
    with opened() as server:
        changed = Intervention(0, (0.0,), 1.0)
        with pytest.raises(UserError, match="has an intervention, which vLLM cannot make"):
            server.generate([Request("0", (1,), None, (changed,))], FOUR)
        with pytest.raises(UserError, match="must have at most 32 tokens"):
            server.generate([Request("0", (1,) * 30)], FOUR)
        os.utime(adapter / "adapter_config.json")
        with pytest.raises(UserError, match="adapter sst2: .* has changed since it was loaded"):
            server.generate(requests("sst2"), FOUR)
    with (
        pytest.raises(UserError, match="adapter base: the server calls its base model so"),
        opened({"base": adapter}),
    ):
        pass


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"forgets": "sst2"}, r"request 1 failed: the server says \(404\): The model `sst2` does"),
        ({"breaks_after": 2}, "request 0 failed: the connection broke after 2 tokens$"),
        ({"stops_after": 2, "no_end": True}, "the answer ended early, after 2 tokens$"),
        ({"errs_after": 1}, r"the server says \(500\): EngineCore encountered an issue.$"),
        (
            {"dies_after": 1},
            "the connection broke after . tokens; it ended with exit code 3; its log /.*.log ends: "
            r"\{.* \| CUDA error: the card fell out$",
        ),
    ],
)
def test_what_can_go_wrong_with_an_answer_is_one_line(opened, faults, message):
    with opened(**faults) as server, pytest.raises(UserError, match=message) as caught:
        server.generate(requests(None, "sst2"), FOUR)
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_come_up_in_time(opened):
    limit = "within 0.5 s, the limit that serving.server.start_timeout_s sets"
    what = rf"the server did not come up {limit} \(a start takes 27 to 49 s .*\); its log /.*.log "
    with pytest.raises(UserError, match=what), opened(start_s=30.0, start_timeout_s=0.5):
        pass


def test_a_server_that_ends_at_its_start(opened, tmp_path):
    trace = "Traceback (most recent call last):\n  File x\nValueError: no room\nother\n" * 3
    with pytest.raises(UserError) as caught, opened(dies=trace):
        pass
    said = str(caught.value)
    log = tmp_path / "server.log"
    begins = f"the server did not come up: it ended with exit code 1; its log {log} ends: "
    assert said.startswith(begins)
    assert said.endswith(" | ValueError: no room | other | ValueError: no room | other")
    assert "File x" not in said


def test_a_server_that_lacks_memory(opened):
    with (
        pytest.raises(MemoryError, match="did not come up.*can't allocate memory: 7 bytes"),
        opened(dies="RuntimeError: can't allocate memory: 7 bytes"),
    ):
        pass
    with pytest.raises(UserError) as caught, opened(dies="ValueError: something else"):
        pass
    assert "7 bytes" not in str(caught.value)  # the log has both, and the second quotes its own


def test_a_port_that_is_in_use_is_seen_before_the_start(opened, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        by = rf"serving.server.port={port} is in use by process {os.getpid()} \("
        with pytest.raises(UserError, match=by), opened(port=port):
            pass
    assert not (tmp_path / "server.log").exists()
    with opened(port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"
