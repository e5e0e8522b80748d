"""What the guides tell to type composes, and what they say of vLLM is in the vLLM that is here."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from front_doors import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import loradrift.judges
import loradrift.serving
import loradrift.steering  # noqa: F401  all register benchmark=…
from loradrift.analysis.registry import register_all
from loradrift.cli.entry_point import quote_values

GUIDES = {
    "README.md": ["analyze.py", "benchmark.py", "train.py"],
    "docs/deployment.md": ["benchmark.py"],
    "docs/persona.md": ["analyze.py", "benchmark.py", "train.py"],
    "docs/frontier.md": ["analyze.py", "train.py"],
    "docs/sequence.md": ["analyze.py", "train.py"],
    "docs/reconstruction.md": ["analyze.py", "train.py"],
    "docs/dataframes.md": ["train.py"],
}
"""Guide -> the front doors at which it tells to type something."""

KEYED = {
    "docs/persona.md": [
        ("train", "study=persona"),
        ("benchmark", "benchmark=steering"),
        ("benchmark", "benchmark=judging", "judge=endpoint"),
    ],
    "docs/frontier.md": [("train", "study=frontier")],
    "docs/sequence.md": [("train", "study=sequence")],
    "docs/reconstruction.md": [("train", "study=reconstruction")],
}
"""Guide -> the configurations whose keys it names."""

DEPLOYMENT = (ROOT / "docs/deployment.md").read_text()


def commands(guide: str) -> list[list[str]]:
    """The commands of a guide that are typed at a front door, as lists of words."""
    text = (ROOT / guide).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(python \w+\.py [^`<]*)`", text)
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_tells_to_type_composes(load, guide):
    register_all()
    scripts = set()
    for _, script, *typed in commands(guide):
        if script == "-m":  # vLLM's
            continue
        scripts.add(script)
        quote_values(typed)
        varied = "-m" in typed
        words = [word.split(",")[0] if varied and "[" not in word else word for word in typed]
        with initialize_config_dir(str(ROOT / "conf")):
            compose(Path(script).stem, [word for word in words if word not in ("-m", "--help")])
    assert sorted(scripts) == GUIDES[guide]


@pytest.mark.parametrize("guide", KEYED)
def test_keys_that_a_guide_names_are_there(load, guide):
    load()  # makes the groups known
    with initialize_config_dir(str(ROOT / "conf")):
        configs = [compose(*each[:1], [*each[1:]]) for each in KEYED[guide]]
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", (ROOT / guide).read_text())
    keys = {name for name in named if not re.search(r"\.(json|csv|txt|parquet|jsonl)$", name)}
    assert len(keys) > 5
    for key in keys:
        group, _, name = key.rpartition(".")
        parents = [OmegaConf.select(config, group) for config in configs]
        assert any(parent is not None and name in [*parent] for parent in parents), key


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_to_files_and_headings(guide):
    text = (ROOT / guide).read_text()
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", text):
        name, _, heading = target.partition("#")
        path = (ROOT / guide).parent / name if name else ROOT / guide
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


@pytest.fixture(scope="module")
def vllm_text() -> str:
    """The text of vLLM's own code that has flags, variables, metrics and routes."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed (make serve-setup)")
    package = Path(found.origin).parent
    files = [package / "envs.py", package / "engine/arg_utils.py", package / "config/lora.py"]
    for folder in ("entrypoints", "v1/metrics", "plugins"):
        files += sorted((package / folder).rglob("*.py"))
    return "\n".join(path.read_text() for path in files)


def test_flags_of_the_guide_are_vllms(vllm_text):
    flags = set(re.findall(r"(?<=[\s`(])--([a-z][a-z-]+)", DEPLOYMENT))
    assert {"enable-lora", "max-loras", "max-cpu-loras", "max-lora-rank", "lora-modules"} <= flags
    for flag in flags:
        name = flag.removeprefix("no-").replace("-", "_")
        assert f"--{flag}" in vllm_text or re.search(rf"\b{name}: ", vllm_text), flag


def test_metrics_variables_and_routes_of_the_guide_are_vllms(vllm_text):
    metrics = set(re.findall(r"`(vllm:\w+)`", DEPLOYMENT))
    variables = set(re.findall(r"\bVLLM_\w+", DEPLOYMENT))
    routes = set(re.findall(r"/v1/\w+", DEPLOYMENT)) | {"/classify", "/invocations", "/tokenize"}
    assert "vllm:lora_requests_info" in metrics
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in variables
    assert "/v1/load_lora_adapter" in routes
    for name in (*(each.removesuffix("_total") for each in metrics), *variables, *routes):
        assert f'"{name}"' in vllm_text, name
