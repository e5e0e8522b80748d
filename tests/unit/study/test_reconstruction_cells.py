"""The cells of study=reconstruction: what there is, and that each is the cell of a command."""

from dataclasses import replace

import pytest
from front_doors import ROOT
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from loradrift.config import LoraConfig, UserError, identity, load
from loradrift.study.arguments import read_arguments
from loradrift.study.plans import plan_of
from loradrift.study.reconstruction import RECONSTRUCTION_PHASES, ReconstructionStudyConfig
from loradrift.study.reconstruction.configurations import CONFIGURATIONS

LOADER = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))


FEW = ["none", "r8_a16_l12", "r16_a32_all"]


@pytest.fixture
def plan(hydra_program, tmp_path):
    """``plan(*typed, key=value)`` is the plan of a study with other keys."""

    def make(*typed, **changes):
        own = ["study=reconstruction", f"runs={tmp_path}/runs", f"results={tmp_path}/res", *typed]
        program = hydra_program(*own)
        own_study = replace(program.settings.study, **{"configurations": FEW} | changes)
        settings = replace(program.settings, study=own_study)
        return plan_of(program, settings, settings.study, own)

    return make


def test_the_eleven_configurations_are_the_issues():
    assert [(each.rank, each.alpha, each.blocks) for each in CONFIGURATIONS.values()] == [
        (0, 0, None), (4, 8, 8), (4, 16, 8), (8, 8, 12), (8, 16, 12), (8, 32, 12), (16, 16, 16),
        (16, 32, 16), (8, 16, None), (16, 32, None), (32, 32, 16),
    ]  # fmt: skip
    assert list(CONFIGURATIONS)[:2] == ["none", "r4_a8_l8"] and "r16_a32_all" in CONFIGURATIONS


@pytest.mark.parametrize(
    ("depth", "shares"),
    [(32, [8, 12, 16]), (30, [8, 11, 15]), (22, [6, 8, 11]), (4, [1, 2, 2]), (1, [1, 1, 1])],
)
def test_layers_are_shares_of_the_depth_and_at_least_one(depth, shares):
    found = [CONFIGURATIONS[f"r{r}_a{a}_l{n}"] for r, a, n in ((4, 8, 8), (8, 8, 12), (16, 16, 16))]
    assert [each.layers(depth) for each in found] == shares
    assert CONFIGURATIONS["r8_a16_all"].layers(depth) is None


def test_each_configuration_is_trained_with_each_seed_and_rates_have_no_lora(plan):
    every = list(CONFIGURATIONS)
    made = plan("task.num_latents=8", configurations=every, seeds=[1, 2], latents=[4, 8, 16])
    sweep, rate = made.cells("sweep"), made.cells("rate")
    assert len(sweep) == 22 and len({cell.folder for cell in [*sweep, *rate]}) == 24
    for cell in sweep:
        configuration, method = CONFIGURATIONS[cell.label[0]], cell.config.method
        if not configuration.rank:
            assert method.name == "head_only"
            continue
        assert isinstance(method, LoraConfig) and method.name == "lora"
        found = method.rank, method.alpha, method.layers
        layers = configuration.layers(4)
        assert found == (configuration.rank, configuration.alpha, layers or "all")
    # 8 latents are the sweep's own baseline
    assert [vars(cell.config.task)["num_latents"] for cell in rate] == [4, 16]
    assert {cell.config.method.name for cell in rate} == {"head_only"}
    assert {vars(cell.config.task)["num_latents"] for cell in sweep} == {8}


def test_samples_and_passes_reach_every_cell_and_the_scales_steps_do_not_end_them(plan):
    made = plan(samples=300, epochs=1.0, latents=[4])
    for cells in (made.cells("sweep"), made.cells("rate")):
        assert {cell.config.data.train_rows for cell in cells} == {300}
        assert {(cell.config.task.epochs, cell.config.task.max_steps) for cell in cells} == {
            (1.0, None)
        }
    config = plan("task.max_steps=7", samples=None, epochs=2.0).cells("sweep")[0].config
    assert (config.task.max_steps, config.task.epochs, config.data.train_rows) == (7, 2.0, None)


def test_work_is_the_steps_of_a_run(plan):
    whole = {"samples": 640, "epochs": 3.0, "configurations": ["none"], "latents": []}
    [cell, *_] = plan("task.batch_size=32", "trainer.accumulate=2", **whole).cells("sweep")
    assert cell.work == 30.0
    [cell, *_] = plan("task.batch_size=32", "task.max_steps=7", **whole).cells("sweep")
    assert cell.work == 7.0


def test_what_is_loras_alone_is_not_the_baselines(plan):
    made = plan("task.adapt=both", "method.dropout=0.1", "method.optim.lr=1e-4", latents=[4])
    for cell in [*made.cells("sweep"), *made.cells("rate")]:
        adapt, method = vars(cell.config.task)["adapt"], cell.config.method
        lora = isinstance(method, LoraConfig)
        assert adapt == ("both" if lora else "decoder")
        assert (method.optim.lr == 1e-4) is lora


def test_the_baselines_head_learns_as_fast_as_the_others(plan):
    cells = plan("scale.head_lr=0.007").cells("sweep")
    assert {
        (c.config.method.optim.head_lr if isinstance(c.config.method, LoraConfig)
         else c.config.method.optim.lr)
        for c in cells
    } == {0.007}  # fmt: skip


@pytest.mark.parametrize(
    "typed",
    [
        ("task.latent_bits=4", "data.seed=5"),
        ("model.num_layers=8", "task.encoder=pca", "trainer.accumulate=2"),
    ],
)
def test_every_cell_is_the_one_of_its_command_by_hand(plan, typed):
    made = plan(*typed, seeds=[1], latents=[4])
    for cell in [*made.cells("sweep"), *made.cells("rate")]:
        by_hand = [each for each in cell.overrides if each != "study=reconstruction"]
        by_hand.append("study.name=reconstruction")
        config = load(compose("train", by_hand), by_hand)
        assert config.cell == cell.folder and identity(config) == identity(cell.config)


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_each_scale_has_a_grid(load, scale):
    typed = ["data=local", "data.root=there"] if scale == "small" else []
    study = load("study=reconstruction", f"scale={scale}", *typed).study
    assert isinstance(study, ReconstructionStudyConfig)
    assert tuple(study.phases) == RECONSTRUCTION_PHASES
    assert study.samples and study.epochs and study.seeds
    assert (min(study.latents), max(study.latents)) == (4, 64)
    assert (ROOT / f"conf/grid/reconstruction_{scale}.yaml").read_text().startswith("# study=")
    assert study.configurations == list(CONFIGURATIONS)


def test_axes_are_typed_as_for_any_multirun_and_what_the_study_sets_is_refused(load):
    own = load("study=reconstruction").study
    study, rest = read_arguments(own, ["seed=5", "task=reconstruction", "task.d_z=4"], LOADER)
    assert (study.seeds, rest) == ([5], ["task.d_z=4"])
    for typed, message in (
        ("method.rank=3", "method.rank=3: study=reconstruction sets method.rank itself, for each"),
        ("data.train_rows=9", "sets data.train_rows itself, for each of its cells: type study.sam"),
        ("task.epochs=2", "for each of its cells: type study.epochs="),
        ("study.trials=3", "study.trials=3 has no effect on study=reconstruction"),
        ("task=sst2", r"^task must be \[reconstruction\], got \['sst2'\]"),
        ("task.num_latents=8,16", "study=reconstruction varies task and seed alone"),
    ):
        with pytest.raises(UserError, match=message):
            read_arguments(own, [typed], LOADER)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": ["production"]}, "study.phases must be some of base, sweep, rate, report, exp"),
        ({"configurations": ["r8_a16_all"]}, "study.configurations must hold none, which all are"),
        ({"configurations": ["none", "none"]}, "study.configurations must be different"),
        ({"samples": 0}, "study.samples must be positive, got 0"),
        ({"epochs": -1.0}, "study.epochs must be positive, got -1"),
        ({"latents": [0]}, "study.latents must be positive, got 0"),
        ({"latents": [4, 4]}, r"study.latents must be different, got \[4, 4\]"),
        ({"rate_seeds": 0}, "study.rate_seeds must be positive, got 0"),
        ({"name": "phase1a_lora_sweep"}, "study.name must be another folder than phase1a_lora_sw"),
    ],
)
def test_values_are_judged_at_the_door(load, changes, message):
    load()  # makes the task known
    with pytest.raises(UserError, match=message):
        ReconstructionStudyConfig(**{"name": "reconstruction", "seeds": [1]} | changes)
