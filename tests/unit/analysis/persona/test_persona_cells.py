"""Cells that are missing, unfinished, damaged, not judged, or not to be compared."""

import numpy as np
import pytest
from planted_cells import DOSES, TRUTH, World, found, questions_of

from loradrift.config import UserError
from loradrift.report.verdicts import Verdict
from loradrift.runs.record import Status


def test_missing_arms_are_named_with_the_command_that_makes_them(tmp_path):
    truth = {arm: TRUTH[arm] for arm in ("none", "activation", "weight")}
    World(tmp_path).arms(truth=truth, layers=[1], direction_seed=2)
    persona = found(tmp_path)
    assert persona.findings["equivalence"].verdict is Verdict.NO_DATA
    assert "arm=prompt was not measured and judged" in persona.findings["equivalence"].why
    [line] = [each for each in persona.missing if each.startswith("arm=prompt")]
    assert (
        "`python benchmark.py benchmark=steering trait=cheerful,terse arm=prompt "
        "coefficient=0.2,0.4,0.6,0.8,1 -m` makes it"
    ) in line
    [line] = [each for each in persona.missing if each.startswith("arm=random_activation")]
    assert "coefficient=0.25,0.5,0.75,1 'steering.layers=[1]' steering.direction_seed=2 -m" in line


def test_answers_that_wait_for_the_judge_are_unknown_and_said(tmp_path):
    World(tmp_path).arms(["terse"], unjudged=[0])
    persona = found(tmp_path)
    assert persona.tables["answers"]["unjudged"].sum() == 17
    assert any(
        "17 answers are not judged yet, and count as unknown: `python benchmark.py "
        "benchmark=judging judge=oracle` judges them" in line for line in persona.problems
    )  # fmt: skip


def test_cells_without_scores_or_unfinished_are_named(tmp_path):
    world = World(tmp_path).arms(["terse"])
    world.cell("terse", "bias_only", 1, 50, 90, status=Status.INTERRUPTED)
    world.judge = None
    world.cell("terse", "weight_positive", 1, 50, 90)
    lines = found(tmp_path).problems
    assert any("its status is interrupted: `python benchmark.py benchmark=steering trait=terse "
               "arm=bias_only coefficient=1` goes on" in line for line in lines)  # fmt: skip
    again = "is not judged by oracle: `python benchmark.py benchmark=judging judge=oracle`"
    assert any(again in line for line in lines)


def test_an_arm_that_is_not_judged_is_not_missing(tmp_path):
    world = World(tmp_path).arms(["terse"], {arm: TRUTH[arm] for arm in ("none", "weight")})
    world.judge = None
    world.arms(["terse"], {"prompt": TRUTH["prompt"]})
    persona = found(tmp_path)
    assert not any(line.startswith("arm=prompt") for line in persona.missing)
    assert sum("is not judged by oracle" in line for line in persona.problems) == 4
    assert "prompt" in persona.findings["equivalence"].why


def refused(root, match, **keys):
    with pytest.raises(UserError, match=match) as error:
        found(root, **keys)
    assert "\n" not in str(error.value)


def test_mixed_bases_judges_questions_and_directions_are_refused(tmp_path):
    def mixed(name, **odd):
        root = tmp_path / name
        World(root).arms(["terse"])
        World(root).cell("terse", "weight", 2.0, 90, 50, **odd)
        return root

    refused(mixed("base", base="beef"), "base_model is f00d in hf/.* and beef in hf/.*cell=<folder")
    refused(mixed("samples", samples=2), "steering.samples is 1 in .* and 2 in")
    facts = {"fingerprint": "oracle 2"}
    refused(mixed("judge", judge_facts=facts), "the settings of the judge oracle differ between")
    asked = [*questions_of("terse")[:-1], "another one?"]
    refused(mixed("questions", questions=asked), "the questions about terse differ between")
    prints = {"direction": "trained anew"}
    refused(mixed("direction", fingerprints=prints), "the direction of terse differ between")


def test_a_cell_chooses_among_several_settings_and_a_judge_among_several(tmp_path):
    truth = {arm: TRUTH[arm] for arm in ("none", "weight")}
    World(tmp_path).arms(["terse"], truth)
    other = World(tmp_path, judge="endpoint")
    other.cell("terse", "none", 0, 20, 90, model="big", base="beef")
    refused(tmp_path, "model is big in .* and tiny in")
    name = "hf/tiny,trait=terse,arm=none,coefficient=0"
    persona = found(tmp_path, cell=name)
    assert len(persona.compared.judged) == 5
    assert "1 cells of another setting than" in persona.problems[0]
    refused(tmp_path, "cell must be one of hf/big", cell="hf/huge")
    refused(tmp_path, "judged_by must be one of oracle, which have judged cells, got endpoint",
            cell=name, judged_by="endpoint")  # fmt: skip


def test_no_cell_says_what_makes_one(tmp_path):
    refused(tmp_path, "holds no finished steering cell: `python benchmark.py benchmark=steering")


def damage(folder, name, old, new):
    path = folder / name
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("judged/oracle/terse.csv", ",scored", ",fine", "'fine' is not a valid Status"),
        ("judged/oracle/terse.csv", "terse/3/0", "terse/77/0", "no answer with the id terse/77/0"),
        ("judged/oracle/terse.csv", "answer 3 of", "answer 4 of", "row terse/3/0 scores another"),
        ("judged/oracle/terse.csv", "terse/3/0", "terse/4/0", "two rows have one id"),
        ("judged/oracle/judge.json", "{", "[", "judge.json is damaged"),
        ("answers.csv", "answer,", "reply,", "lacks the column answer"),
    ],
)
def test_a_damaged_cell_is_one_line_and_the_others_stand(tmp_path, name, old, new, says):
    world = World(tmp_path).arms(["terse"])
    damage(world.cell("terse", "weight", 2.0, 90, 50), name, old, new)
    persona = found(tmp_path)
    assert any(says in line and "benchmark" in line for line in persona.problems), persona.problems
    weight = next(curve for curve in persona.curves if curve.arm.kind == "weight")
    assert weight.doses_D.tolist() == list(DOSES)


def test_seeds_of_a_direction_are_averaged_where_all_have_a_dose(tmp_path):
    world = World(tmp_path, noise=0, luck=0)
    world.cell("terse", "none", 0, 20, 90)
    for seed, score in ((1, 40), (2, 60)):
        world.cell("terse", "weight", 0.5, score, 90, direction_seed=seed)
    world.cell("terse", "weight", 1.0, 90, 90, direction_seed=1)
    persona = found(tmp_path)
    weight = next(curve for curve in persona.curves if curve.arm.kind == "weight")
    assert weight.doses_D.tolist() == [0, 0.5] and weight.seeds == (1, 2)
    np.testing.assert_allclose(weight.traits_VND.mean(axis=(0, 1)), [20, 50])
    assert any("weights of terse at dose 1 is left out: direction seed 2 lacks it" in line
               for line in persona.problems)  # fmt: skip


def test_an_endpoint_is_named_as_it_is_typed(tmp_path):
    World(tmp_path, judge="endpoint-gpt").arms(["terse"], unjudged=[0])
    assert found(tmp_path, judged_by="endpoint").compared.judge == "endpoint-gpt"
    command = "benchmark=judging judge=endpoint judge.base_url=… judge.model=gpt`"
    assert any(command in line for line in found(tmp_path).problems)
