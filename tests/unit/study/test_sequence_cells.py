"""The cells of study=sequence: each is the cell of a command by hand, once its start is there."""

import json
from dataclasses import asdict, replace

import pytest
from hydra import compose

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import identity
from loradrift.study.plans import plan_of
from loradrift.study.sequence import SEQUENCE_PHASES, SequenceStudyConfig


@pytest.fixture
def plan(hydra_program, tmp_path):
    """The plan of a chain of two tasks, of which nothing is done."""

    def make(*typed):
        own = ["study=sequence", f"runs={tmp_path}/runs", f"results={tmp_path}/res", *typed]
        program = hydra_program(*own)
        study = replace(program.settings.study, seeds=[1], tasks=["rte", "mrpc"])
        return plan_of(program, replace(program.settings, study=study), study, own)

    return make


def test_a_planned_cell_is_the_one_of_its_command_when_the_step_before_is_done(plan):
    typed = ("model.num_layers=2", "trainer.validate_every=50", "task.max_steps=7")
    made = plan(*typed)
    assert made.phases == ["base", "chain 1", "chain 2", "report"]
    for before, cell in zip(made.cells("chain 1"), made.cells("chain 2"), strict=True):
        assert "model.num_layers" in before.config.variant
        after = f"after=rte,{before.config.variant}"
        assert cell.config.variant == ",".join(sorted(after.split(",")))
        # the evaluated checkpoint has a dump
        assert cell.config.callbacks.activation_dump.every_n_steps == 50
        (before.folder / "model").mkdir(parents=True)
        name = "adapter_config.json" if before.config.method.name == "lora" else "config.json"
        (before.folder / "model" / name).write_text("{}")
        place = {**made.cells("chain 2")[0].config.start["chain"][0]}
        place |= {"method": before.config.method.name, "variant": before.config.variant}
        record = {
            "schema_version": 4, "status": "success", "coordinates": place,
            "config": {"model": asdict(before.config.model)},
            "fingerprints": {"base_model": "b"}, "certificate": {"passed": True},
        }  # fmt: skip
        (before.folder / "run.json").write_text(json.dumps(record))
        by_hand = [each for each in cell.overrides if each != "study=sequence"]
        by_hand.append("study.name=sequence")
        config = resolve_config(compose("train", by_hand), by_hand)
        assert config.cell == cell.folder
        done, planned = identity(config), identity(cell.config)
        assert done["start"].pop("weights")
        assert done == planned


def test_one_method_has_a_report_of_its_own_rank(plan, monkeypatch):
    told, report = {}, "loradrift.study.sequence.plan.analyse_study"
    monkeypatch.setattr(report, lambda *_, **keys: told.update(keys))
    made = plan("study.methods=[lora]", "method.rank=4")
    made._report()
    assert told["baseline"] == "lora_r4"
    assert [len(made.cells(phase)) for phase in made.cell_phases] == [1, 1]


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_each_scale_has_a_chain(load, scale):
    typed = ["data=local", "data.root=there"] if scale == "small" else []
    study = load("study=sequence", f"scale={scale}", *typed).study
    assert isinstance(study, SequenceStudyConfig) and tuple(study.phases) == SEQUENCE_PHASES
    assert study.tasks == ["rte", "mrpc", "sst2"] and study.methods == ["full_finetune", "lora"]
    assert len(study.seeds) == 3
