"""The cells of study=persona: what there is, and that each is the cell of a command by hand."""

import json
from collections import Counter
from dataclasses import asdict, replace

import pytest
from hydra import compose
from small_persona import AXES, small

from loradrift.cli.entry_point import quote_values
from loradrift.config import UserError, identity, load, load_benchmark
from loradrift.runs import Status, open_cell, open_run
from loradrift.steering.directions import direction_folder
from loradrift.study.plans import plan_of

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def plan(hydra_program, tmp_path):
    """``plan(*typed, key=value)`` is the plan of a small study with other keys."""

    def make(*typed, **changes):
        own = ["study=persona", f"runs={tmp_path}/runs", f"results={tmp_path}/results", *typed]
        program = hydra_program(*own)
        settings = replace(program.settings, study=small(**changes))
        return plan_of(program, settings, settings.study, own)

    return make


def places(cells):
    return [cell.place for cell in cells]


def test_both_sides_of_each_trait_and_what_is_foretold(plan):
    made = plan()
    assert places(made.cells("sides")) == [
        f"{trait} {side}, rslora seed {seed}"
        for trait in AXES["traits"] for side in ("pos", "neg") for seed in (1, 2)
    ]  # fmt: skip
    assert places(made.cells("finetunings")) == [
        line
        for trait in AXES["traits"]
        for line in (
            *(f"{trait} mixed {share}, {method} seed 3"
              for method in AXES["methods"] for share in ("0", "0.5")),
            f"{trait} pos, rslora seed 2, direction merged",
        )
    ]  # fmt: skip
    results = made.settings.results
    *mixed, prevented = made.cells("finetunings")[:5]
    watched = {cell.config.callbacks.persona_monitor.directions for cell in mixed}
    assert watched == {f"{results}/persona/directions/persona"}
    # of the first seed's direction, in a run of the last
    assert prevented.config.task.direction.endswith("/persona/directions/persona/cheerful/seed=1")


def test_every_arm_at_every_dose_and_two_traits_together(plan):
    made = plan()
    assert places(made.cells("steering")) == [
        *(f"{trait} {dose}" for trait in AXES["traits"] for dose in (
            "none", "prompt 1", "activation -1", "activation 2", "weight 0.25", "weight 0.5")),
        "cheerful weight 0 with cautious 0.25", "cheerful weight 0.25 with cautious 0.25",
    ]  # fmt: skip
    other = plan(composed={"weight": 2.0, "activation": 1.0}, doses={"weight": [1.0]})
    *_, alone, second, both = places(other.cells("steering"))
    assert (alone, second) == ("cheerful weight 2", "cheerful weight 0 with cautious 2")
    assert both == "cheerful weight 2 with cautious 2" and len(other.cells("steering")) == 7
    for cell in made.cells("steering"):
        plain = cell.config.arm in ("none", "prompt")
        assert cell.config.steering.study == ("main" if plain else "persona")
        assert cell.config.steering.direction_seed == (0 if plain else 1)
    seeds = [
        cell.config.steering.direction_seed
        for cell in plan(steered_seeds=2).cells("steering")
        if cell.config.arm == "weight" and not cell.config.steering.also
    ]
    assert Counter(seeds) == {1: 4, 2: 4}


def test_what_runs_are_asked(plan):
    made = plan()
    asked = [(cell.trait, cell.config.steering.run) for cell in made.cells("behaviour")]
    own = [str(cell.folder) for cell in made.cells("sides")]
    mixed = [str(cell.folder) for cell in made.cells("finetunings") if cell.is_mixed]
    assert Counter(run for _, run in asked) == Counter([*own, *mixed, *mixed]) + Counter(
        str(cell.folder) for cell in made.cells("finetunings") if not cell.is_mixed
    )
    assert len(set(asked)) == len(asked) == 8 + 8 * 2 + 2
    for cell in made.cells("behaviour"):
        steering = cell.config.steering
        assert (steering.neutral_rows, steering.task) == (0, None)
    assert len(plan(everywhere=False).cells("behaviour")) == 8 + 8 + 2


def one_of_each(cells):
    """A cell of each method or arm, and of each set of keys."""
    keys = [
        (*cell.listed[1:], *(each.partition("=")[0] for each in cell.overrides)) for cell in cells
    ]
    return dict(zip(keys, cells, strict=True)).values()


@pytest.mark.parametrize(
    "typed",
    [
        ("scale=small", "data=local", "data.root={0}", "model.path={0}"),
        ("task.max_steps=7", "data.train_rows=50", "method.rank=4", "trainer.accumulate=2",
         "trainer.threads=2", "model.num_layers=2", "data.seed=5", "scale.adapter_rank=4"),
    ],
)  # fmt: skip
def test_every_cell_is_the_one_of_its_command_by_hand(plan, tmp_path, typed):
    typed = [each.format(tmp_path) for each in typed]
    made = plan(*typed, questions=7)
    for phase in ("steering", "behaviour", "cost"):
        for cell in one_of_each(made.cells(phase)):
            overrides = list(cell.overrides)
            quote_values(overrides)
            assert overrides == list(cell.overrides)
            config = load_benchmark(compose("benchmark", overrides), overrides)
            assert config == cell.config and config.cell == cell.folder
            assert phase == "cost" or config.steering.questions == 7
    for phase in ("sides", "finetunings"):
        for cell in one_of_each(made.cells(phase)):
            by_hand = [each for each in cell.overrides if each != "study=persona"]
            by_hand.append("study.name=persona")
            config = load(compose("train", by_hand), by_hand)
            assert config.cell == cell.folder and identity(config) == identity(cell.config)


def test_methods_keys_are_for_the_method_that_makes_directions(plan):
    cells = plan("method.rank=4").cells("finetunings")
    ranks = {cell.config.method.name: getattr(cell.config.method, "rank", None) for cell in cells}
    assert ranks == {"rslora": 4, "full_finetune": None}


CERTIFICATE = {"passed": True, "files": {"adapter_model.safetensors": "abc"}}


def finish(cell, standing=None, certificate=None):
    """The record of a steering cell, as its benchmark leaves it."""
    config = cell.config
    keys = ("model", "data", "seed", "trait", "arm", "coefficient", "steering")
    known = {key: asdict(config)[key] for key in keys} | {"standing": standing or {}}
    with open_cell(cell.folder, known, kind="steering") as held:
        held.save(status=Status.SUCCESS, certificate=certificate)


def test_a_cell_is_done_as_long_as_all_it_is_made_of_is_the_same(plan):
    made = plan()
    cells = {cell.place: cell for cell in made.cells("steering")}
    folder = direction_folder(made.analyses.results, "persona", "cheerful", 1)
    folder.mkdir(parents=True)
    facts = folder / "direction.json"
    facts.write_text(json.dumps({"certificate": CERTIFICATE}))
    names = ["cheerful none", "cheerful prompt 1", "cheerful weight 0.5", "cautious weight 0.5"]
    for name in names:
        arm = cells[name].config.arm
        finish(cells[name], certificate=CERTIFICATE if arm == "weight" else None)

    def done(*typed, **changes):
        return [c.place for c in plan(*typed, **changes).cells("steering") if c.record]

    assert done() == names[:3]  # the last one's direction is not there
    facts.write_text(json.dumps({"certificate": CERTIFICATE | {"files": {}}}))
    assert done() == names[:2]  # the direction has been made anew
    assert done(questions=5) == []
    path = cells["cheerful none"].folder / "run.json"
    record = json.loads(path.read_text())
    record["config"]["steering"]["max_tokens"] += 1
    path.write_text(json.dumps(record))
    assert done() == names[1:2]  # defaults have changed since
    path.write_text("damaged")
    assert done() == names[1:2]


def test_what_a_run_answered_stands_until_the_run_is_another(plan):
    few = {"traits": ["cheerful"], "methods": ["rslora"], "shares": []}
    run = plan(**few).cells("sides")[0]
    with open_run(run.config) as held:
        held.save(status=Status.SUCCESS, certificate=CERTIFICATE)

    def cell():
        return next(
            c for c in plan(**few).cells("behaviour") if c.config.steering.run == str(run.folder)
        )

    assert cell().record is None
    finish(cell(), standing=CERTIFICATE["files"])
    assert cell().record is not None
    path = run.folder / "run.json"
    path.write_text(path.read_text().replace('"abc"', '"other"'))
    assert cell().record is None


def test_the_hub_has_no_personas(plan):
    with pytest.raises(UserError, match="study=persona has nothing on the hub; use data=embedded"):
        plan("data=hub").validate()
