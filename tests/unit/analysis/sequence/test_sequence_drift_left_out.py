"""Dumps that are missing, damaged or of another model cost their chain's drift, and no score."""

import shutil

import pytest
from planted_chains import FIRST, FULL, LAST, LORA, seeds_of

from loradrift.analysis.sequence.page import report
from loradrift.analysis.sequence.tables import tabulate


def without_dumps(runs, pattern):
    for folder in runs.glob(f"sequence/*/{pattern}"):
        for name in ("activations", "chain/first_base", "chain/rte/activations"):
            shutil.rmtree(folder / name, ignore_errors=True)


def test_a_chain_without_dumps_lacks_its_drift_alone(runs, settings):
    without_dumps(runs, "lora*/seed=2")
    found = tabulate(settings(runs.parent))
    [line] = found.problems
    assert line.startswith("seed=2 lora_r8: its drift is left out: ") and "\n" not in line
    assert seeds_of(found, LORA) == [1, 2]
    without_dumps(runs, "*/seed=*")
    own = settings(runs.parent)
    found = tabulate(own)
    assert len(found.problems) == 4 and found.tables["layers"].empty
    report(own, found)
    assert {row["measure"] for row in found.compared} >= {"backward_transfer", "neutral"}
    assert "drift" not in {row["measure"] for row in found.compared}


def test_a_damaged_manifest_costs_the_drift_of_its_chain_alone(runs, settings):
    manifest = runs / LAST / "activations/manifest.json"
    manifest.write_text(manifest.read_text()[:-40])
    found = tabulate(settings(runs.parent))
    [line] = found.problems
    assert line.startswith(f"seed=2 lora_r8: its drift is left out: {manifest} is damaged")
    assert seeds_of(found, LORA) == [1, 2]
    assert len(found.tables["layers"].groupby(["arm", "seed"])) == 3


@pytest.mark.parametrize("end", [FIRST, LAST])
def test_another_first_model_costs_the_drift_of_that_chain_alone(runs, settings, end):
    """The last dump in the place of the first model: it is no other chain's."""
    shutil.rmtree(runs / end / "chain/first_base")
    shutil.copytree(runs / end / "activations", runs / end / "chain/first_base")
    found = tabulate(settings(runs.parent))
    [line] = [line for line in found.problems if "its drift is left out" in line]
    assert "did not start from the same model" in line
    own = ("full_finetune", 1) if end == FIRST else (LORA, 2)
    assert line.startswith(f"seed={own[1]} {own[0]}: ")
    assert {*found.tables["layers"].groupby(["arm", "seed"]).groups} == {
        (arm, seed) for arm in (FULL, LORA) for seed in (1, 2)
    } - {own}
    assert seeds_of(found, LORA) == [1, 2]  # its scores stay


def test_a_damaged_dump_of_a_first_model_costs_the_drift_of_that_chain_alone(runs, settings):
    [dump] = (runs / FIRST / "chain/first_base").glob("*.safetensors")
    content = bytearray(dump.read_bytes())
    content[-1] ^= 1
    dump.write_bytes(content)
    found = tabulate(settings(runs.parent))
    [line] = [line for line in found.problems if "its drift is left out" in line]
    assert line.startswith("seed=1 full_finetune: ") and str(dump) in line
    assert len(found.tables["layers"].groupby(["arm", "seed"])) == 3
