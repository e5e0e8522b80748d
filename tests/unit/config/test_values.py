"""Every path, number and seed of every schema is judged in one place, by its kind."""

from dataclasses import MISSING, fields, is_dataclass
from typing import get_type_hints

import pytest
from front_doors import ROOT
from hydra import compose, initialize_config_dir

from loradrift import config
from loradrift.analysis.registry import ANALYSES, register_all
from loradrift.cli.entry_point import quote_values
from loradrift.config import UserError
from loradrift.config.errors import EXCERPT, check, excerpt
from loradrift.config.values import expand_path, judge_values
from loradrift.tasks.reconstruction.config import LOSSES

CONF = ROOT / "conf"


def leaves(schema, prefix=""):
    """Each key of a schema, its field and its kind."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        if is_dataclass(hints[each.name]):
            yield from leaves(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, each, hints[each.name]


def schemas():
    """The prefix of each schema of both programs, and the schema."""
    register_all()
    yield "", config.Config
    yield from ((f"{group}.", schema) for group, schema in config.option_schemas())
    yield from (("", analysis.config) for analysis in ANALYSES.values())


PLACES = {
    "runs", "results", "cache", "best", "data.root", "model.path", "search.storage", "storage",
    "analysis.runs", "analysis.results", "pairs", "adapter", "base", "dataset", "predictions",
    "na_probs",
}  # fmt: skip


def test_each_key_that_names_a_place_is_a_path():
    found = {
        key
        for prefix, schema in schemas()
        for key, each, _ in leaves(schema, prefix)
        if "path" in each.metadata
    }
    assert found >= PLACES


OWNERS = {
    "task.share": ("task=persona", "task.side=mixed"),
    "task.direction_coefficient": ("task=persona", "task.direction=x"),
    **{f"task.{loss}_weight": ("task=reconstruction",) for loss in LOSSES},
}
"""Keys of a task -> what has to be typed with them; the others are squad_v2's."""


def floats(schema, prefix=""):
    return {key for key, _, kind in leaves(schema, prefix) if kind in (float, float | None)}


def test_each_float_is_refused_by_its_key_unless_it_is_finite(load):
    analyses = {analysis.config for analysis in ANALYSES.values()}
    keys = {key for prefix, schema in schemas() if schema not in analyses
            for key in floats(schema, prefix)}  # fmt: skip
    assert {"method.optim.lr", "method.alpha", "task.epochs", "trainer.gradient_clip"} <= keys
    for key in sorted(keys):
        for value in ("inf", "nan"):
            with pytest.raises(UserError, match=rf"^[\w.]+ must be .*, got {value}$") as error:
                load(*OWNERS.get(key, ["task=squad_v2"]), f"{key}={value}")
            named = str(error.value).partition(" ")[0]
            # the scale's values are judged as those of the method and the task that take them
            assert key.endswith(named) or key.startswith("scale.")


def test_each_float_of_an_analysis_is_refused_unless_it_is_finite():
    register_all()
    keys = {(name, key) for name, each in ANALYSES.items() for key in floats(each.config)}
    assert {("persona", "coherence"), ("persona", "margin")} <= keys
    for name, key in sorted(keys):
        for value in ("inf", "nan"):
            with (
                initialize_config_dir(str(CONF), version_base="1.3"),
                pytest.raises(UserError, match=rf"^{key} must be .*, got {value}$"),
            ):
                config.load_analysis(compose("analyze", [f"analysis={name}", f"{key}={value}"]))


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize("key", ["seed", "data.seed", "model.pretraining.seed", "study.seeds"])
def test_a_seed_that_some_generator_would_not_take_is_refused(load, key, seed):
    typed = f"{key}=[{seed}]" if key == "study.seeds" else f"{key}={seed}"
    with pytest.raises(UserError, match=rf"{key} must be in \[0, 2\^32\), got {seed}"):
        load(typed)


def test_a_home_is_expanded_and_an_empty_path_refused(load, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    settings = load("runs='~/r'", "data=local", "data.root='~'", "results=r", "best='~/b.yaml'")
    assert (settings.runs, settings.data.root) == ("/home/ada/r", "/home/ada")
    assert (settings.results, settings.best) == ("r", "/home/ada/b.yaml")
    assert expand_path("storage", "sqlite:///~/t.db") == "sqlite:////home/ada/t.db"
    for empty in ("runs=", "results=", "cache=", "best=", "runs=' '"):
        key = empty.partition("=")[0]
        with pytest.raises(UserError, match=f"{key} must be a path, not empty, got '"):
            load(empty)
    with pytest.raises(UserError, match="model.path must be a path, not empty"):
        load("model=local", "model.path=")
    with pytest.raises(UserError, match="runs=~no-such-user/r: there is no home of ~no-such-user"):
        load("runs='~no-such-user/r'")


def test_the_paths_of_every_analysis_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    register_all()
    for analysis in ANALYSES.values():
        needed = [each.name for each in fields(analysis.config) if each.default is MISSING]
        given = {name: "~/x" for name in needed if name != "analysis"}
        settings = analysis.config(**given)
        settings.analysis.runs = "~/r"
        judge_values(settings)
        assert settings.analysis.runs == "/home/ada/r"
        paths = {each.name for each in fields(settings) if "path" in each.metadata}
        assert all(getattr(settings, name) == "/home/ada/x" for name in paths & given.keys())


def test_a_count_beyond_what_programs_count_is_refused(load):
    with pytest.raises(UserError, match=r"task.max_steps must be at most 2\^53"):
        load(f"task.max_steps={10**21}")


def test_a_home_needs_no_quotes_on_the_command_line():
    typed = ["x.py", "runs=~/r", "data.root='~/d'", "a=~/1,~/2", "analysis.treatment=lora,r=1"]
    quote_values(typed)
    assert typed[1:4] == ["runs='~/r'", "data.root='~/d'", "a='~/1','~/2'"]
    assert typed[4] == "analysis.treatment='lora,r=1'"


def test_a_runs_folder_needs_no_quotes_but_in_a_sweep():
    typed = ["x.py", "run=runs/sst2/lora,r=4/seed=1", "out='a=b'", "seed=1,2"]
    quote_values(typed)
    assert typed[1:] == ["run='runs/sst2/lora,r=4/seed=1'", "out='a=b'", "seed=1,2"]
    typed = ["x.py", "-m", "run='lora/seed=1',other"]
    quote_values(typed)
    assert typed[2] == "run='lora/seed=1',other"


def test_nothing_is_chosen_of_a_group_by_leaving_it_out():
    with pytest.raises(UserError, match="study must be one of its options, or left out for none,"):
        quote_values(["x.py", "study=null", "-m"])


def test_a_message_quotes_the_beginning_of_a_long_value_in_one_line():
    assert excerpt("short") == "short"
    assert excerpt("a\rb\x1b[31m") == r"a\rb\x1b[31m"
    long = excerpt("x" * 10**6)
    assert long == "x" * EXCERPT + "…"
    with pytest.raises(UserError) as error:
        check(False, "key", "short", "y" * 10**6)
    assert len(str(error.value)) < 2 * EXCERPT


def test_a_list_needs_no_brackets_on_the_command_line():
    typed = ["serving.adapters=1,2,4", "serving.server.rates=0.5", "serving.folders=runs/a=1,b"]
    quote_values(typed)
    assert typed == [
        "serving.adapters=[1,2,4]",
        "serving.server.rates=[0.5]",
        "serving.folders=['runs/a=1','b']",
    ]
    kept = ["-m", "serving.adapters=[1,2],[4]", "serving.mix=uniform,zipf"]
    quote_values(swept := [*kept])
    assert swept == kept
