"""The examples of ``docs/extending.md``, as they stand there, typed at the real entry points."""

import json
import re
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from front_doors import ROOT, analyze, error_of, output_of, run_here
from hydra.core.config_store import ConfigStore
from judged_cells import judged, write_cell

import loradrift.methods
import loradrift.serving
import loradrift.tasks  # noqa: F401  what is built in is registered before the examples are
from loradrift.analysis.registry import ANALYSES, register_all
from loradrift.config import METHODS, TASKS, UserError
from loradrift.config.benchmarks import BENCHMARKS
from loradrift.generation import EngineSettings, Intervention, Request, Sampling, open_engine
from loradrift.generation.base import OPENERS
from loradrift.judges.registry import JUDGES
from loradrift.similarity import MEASURES, raise_failed, reference, self_check

DOC = (ROOT / "docs" / "extending.md").read_text()


def section(heading: str) -> str:
    """The page from one heading to the next."""
    return DOC.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.fixture
def example(monkeypatch):
    """Run the block below a heading of the page as a module; what it registers goes again."""
    register_all()
    registries = (TASKS, METHODS, ANALYSES, BENCHMARKS, OPENERS, JUDGES)
    groups = ConfigStore.instance().repo
    known = [dict(each) for each in registries]
    options = {name: dict(groups.get(name, {})) for name in ("task", "method", "analysis")}

    def run(heading: str) -> ModuleType:
        [block] = re.findall(r"```python\n(.*?)```", section(heading), re.DOTALL)
        module = ModuleType("extension")
        monkeypatch.setitem(sys.modules, "extension", module)
        exec(compile(block, "docs/extending.md", "exec"), vars(module))
        return module

    yield run
    for registry, entries in zip(registries, known, strict=True):
        registry.clear()
        registry.update(entries)
    for name, entries in options.items():
        groups[name] = entries


def test_a_task(example, train_here, tmp_path):
    example("A task")
    words = {"sport": "match", "science": "planet", "trade": "market"}
    folder = tmp_path / "data" / "TOPICS"
    folder.mkdir(parents=True)
    for split, size in (("train", 300), ("dev", 30)):
        rows = [
            f"the {words[topic]} of {split} {number} .\t{topic}"
            for number, topic in zip(range(size), [*words] * size, strict=False)
        ]
        (folder / f"{split}.tsv").write_text("\n".join(["headline\ttopic", *rows]) + "\n")
    place = ("data=local", f"data.root={tmp_path}/data")
    output_of(train_here("task=topics", *place, "method=majority", "seed=1"))
    [path] = tmp_path.rglob("run.json")
    record = json.loads(path.read_text())
    assert record["metrics"]["evaluation/accuracy"] == pytest.approx(1 / 3)
    assert record["task"]["label"] == "Topics"


def test_a_method(example, train_here, tmp_path):
    example("A method")
    typed = ("task=sst2", "method=last_blocks", "task.max_steps=2", "seed=1")
    output_of(train_here(*typed))
    [path] = tmp_path.rglob("run.json")
    parameters = json.loads(path.read_text())["parameters"]
    assert 0 < parameters["trainable"] < parameters["total"] / 2
    wrong = train_here(*typed, "method.blocks=0")
    assert "method.blocks must be positive, got 0" in error_of(wrong)


def test_a_measure(example, monkeypatch):
    module = example("A measure")
    known = {**MEASURES, "explained": module.MEASURE}
    monkeypatch.setattr(sys.modules[self_check.__module__], "MEASURES", known)
    references = {**reference.REFERENCES, "explained": module.reference}
    monkeypatch.setattr(reference, "REFERENCES", references)
    raise_failed(self_check(["explained"]))
    claims = {check.claim for check in self_check(["explained"])}
    assert {"the published formula in float64", "after rotation", "after translation"} <= claims
    known["explained"] = replace(module.MEASURE, value=lambda x, y: module.explained(x, 2 * y) / 2)
    assert not all(check.holds for check in self_check(["explained"]))
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    assert module.explained_distance(rows, rows) == pytest.approx(0, abs=1e-12)


def test_an_analysis(example, compute, tmp_path):
    example("An analysis")
    for method in ("lora", "majority"):  # a baseline has no speed
        compute(f"method={method}", "task.max_steps=2")
    typed = ("analysis=speed", f"analysis.runs={tmp_path}/runs", f"analysis.results={tmp_path}")
    output_of(run_here(ROOT / "analyze.py", *typed, "at_least=1"))
    html = (tmp_path / "speed.html").read_text()
    assert "sst2/lora" in html and "majority" not in html and "<figure>" in html


def test_an_engine(example, tmp_path):
    example("An engine")
    for name, answer in (("base", [1, 2, 3]), ("adapter", [4, 5, 6])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "answers.json").write_text(json.dumps({"7 8": answer}))
    settings = EngineSettings(tmp_path / "base", {"sst2": tmp_path / "adapter"})
    asked = [Request("a", (7, 8), "sst2"), Request("b", (7, 8))]
    with open_engine("replay", settings) as engine:
        answers = engine.generate(asked, Sampling(max_tokens=2))
        assert [answer.token_ids for answer in answers] == [(4, 5), (1, 2)]
        assert [(answer.id, answer.served) for answer in answers] == [("a", "sst2"), ("b", None)]
        with pytest.raises(UserError, match="knows no adapter rte"):
            engine.generate([Request("c", (7, 8), "rte")], Sampling())
        steered = replace(asked[1], interventions=(Intervention(0, (1.0,), 2.0),))
        with pytest.raises(UserError, match="makes no interventions"):
            engine.generate([steered], Sampling())
        engine.unload_adapter("sst2")
        with pytest.raises(UserError, match="knows no adapter sst2"):
            engine.generate(asked, Sampling())
    missing = EngineSettings(tmp_path)
    with pytest.raises(UserError, match="engine=replay needs"), open_engine("replay", missing):
        pass


def test_a_benchmark(example, model_folder, tmp_path):
    example("A benchmark")
    [option] = re.findall(r"```yaml\n(.*?)```", section("A benchmark"), re.DOTALL)
    (tmp_path / "conf" / "benchmark").mkdir(parents=True)
    (tmp_path / "conf" / "benchmark" / "startup.yaml").write_text(option)
    typed = ("--config-dir", f"{tmp_path}/conf", "benchmark=startup", "engine=hf", "model=local")
    typed += (f"model.path={model_folder}", f"runs={tmp_path}/runs", "times=2")
    first = output_of(run_here(ROOT / "benchmark.py", *typed))
    [path] = tmp_path.rglob("run.json")
    record = json.loads(path.read_text())
    assert (record["kind"], record["status"]) == ("startup", "success")
    assert first.endswith(f"{record['metrics']['start_s']:.2f} s\n")
    assert output_of(run_here(ROOT / "benchmark.py", *typed)) == first, "it was measured again"
    wrong = run_here(ROOT / "benchmark.py", *typed, "times=0")
    assert "times must be positive, got 0" in error_of(wrong)


def test_a_judge(example, cache, tmp_path):
    example("A judge")
    [option] = re.findall(r"```yaml\n(.*?)```", section("A judge"), re.DOTALL)
    (tmp_path / "conf" / "judge").mkdir(parents=True)
    (tmp_path / "conf" / "judge" / "words.yaml").write_text(option)
    data = {"name": "embedded", "seed": 0, "root": ""}
    cell = write_cell(tmp_path / "runs", 1.0, data, texts=("sells it gladly .", ""))
    typed = ("--config-dir", f"{tmp_path}/conf", "benchmark=judging", f"cache={cache}")
    typed += (f"runs={tmp_path}/runs", "judge.words=[gladly]")
    said = output_of(run_here(ROOT / "benchmark.py", *typed, "judge=words"))
    assert "judge=words: 1 cells are judged, 2 scores are new" in said
    scores = judged(cell, "words", "cheerful")
    assert scores == {"0/0": ("25.0", "100.0", "scored"), "1/0": ("", "", "empty")}
    output_of(run_here(ROOT / "benchmark.py", *typed[:-1], "judge=oracle"))
    said = output_of(analyze(tmp_path, "analysis=judges", "first=words", "second=oracle"))
    assert "words and oracle both scored" in said
    wrong = run_here(ROOT / "benchmark.py", *typed, "judge=words", "judge.traits=[sad]")
    assert "judge.traits=sad is not known to judge=words, which knows cheerful" in error_of(wrong)
