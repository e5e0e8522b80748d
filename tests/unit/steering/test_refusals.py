"""What a steering cell refuses, and what an error leaves."""

import json
import shutil

import pytest
from steering_cases import change_facts, make_config, read, run

from loradrift.config import UserError
from loradrift.generation.hf import HfEngine


@pytest.mark.parametrize(
    ("arm", "coefficient", "message"),
    [
        ("weight", 1e300, "coefficient=1e[+]300: the weight of .* would not be finite in float32"),
        ("weight", 1e34, "not finite: the coefficient is too large for this model; 0 of 3"),
        ("activation", 1e25, "coefficient=1e[+]25 is too large: times the vector of layer 1"),
        ("bias_only", 1e300, "coefficient=1e[+]300 is too large: what it adds to .* is not finite"),
    ],
)
def test_a_coefficient_that_overflows_is_an_error_and_the_cell_has_failed(
    world, arm, coefficient, message
):
    config = make_config(world, arm=arm, coefficient=coefficient)
    with pytest.raises(UserError, match=message):
        run(config)
    if (config.cell / "run.json").is_file():
        record = read(config, "run.json")
        assert record["status"] == "failed" and "finite" in record["error"]


def test_what_is_answered_before_an_overflow_is_kept(world, monkeypatch):
    from loradrift.generation.decoding import NotFiniteError

    config = make_config(world, arm="weight", coefficient=1.0, steering={"batch_size": 2})
    generate, calls = HfEngine.generate, []

    def failing(self, requests, sampling):
        calls.append(1)
        if len(calls) == 2:
            raise NotFiniteError("the model's logits are not finite")
        return generate(self, requests, sampling)

    monkeypatch.setattr(HfEngine, "generate", failing)
    with pytest.raises(UserError, match="for this model; 2 of 3 answers are kept"):
        run(config)
    assert len(list((config.cell / "answers").iterdir())) == 1
    assert read(config, "run.json")["status"] == "failed"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"trait": "evil"}, "trait must be one of cheerful, grim, got evil"),
        (
            {"arm": "weight", "coefficient": 1.0, "steering": {"also": {"evil": 1.0}}},
            "steering.also.evil must be one of cheerful, grim, got evil",
        ),
        ({"steering": {"questions": 5}}, "steering.questions must be at most 4, got 5"),
        ({"steering": {"task": "squad_v2"}}, "steering.task must be one of sst2, mrpc, rte, or"),
        ({"steering": {"task": "rte"}}, "RTE.*; steering.task=null measures no task"),
        (
            {"trait": "grim", "arm": "weight", "coefficient": 1.0},
            "holds no direction grim seed=0; there are cheerful seed=0",
        ),
        (
            {"arm": "weight", "coefficient": 1.0, "steering": {"study": "other"}},
            "holds no direction cheerful seed=0; `python analyze.py analysis=pers",
        ),
        ({"steering": {"max_tokens": 250}}, r"steering.max_tokens must be at most \d+, becau"),
        ({"steering": {"run": "nowhere"}}, "steering.run=nowhere: there is no folder nowhere"),
        ({"steering": {"layers": [5]}, "arm": "activation", "coefficient": 1.0}, "from 0 to 1, as"),
    ],
)  # fmt: skip
def test_bad_input_is_named(world, keys, message):
    with pytest.raises(UserError, match=message):
        run(make_config(world, **keys))


def test_a_direction_that_does_not_fit(world, tmp_path):
    keys = {"arm": "weight", "coefficient": 1.0}
    named = make_config(world, trait="grim", steering={"direction": str(world.direction)}, **keys)
    with pytest.raises(UserError, match="is a direction of cheerful, got trait=grim"):
        run(named)
    # the other trait's is the study's own
    steering = {"direction": str(world.direction), "also": {"grim": 1.0}}
    with pytest.raises(UserError, match="holds no direction grim seed=0; there are cheerful"):
        run(make_config(world, steering=steering, **keys))
    config = make_config(world, **keys)
    change_facts(world.direction, base={"path": "other/model", "fingerprint": "f" * 64})
    line = r"is a direction of other/model \(digest f{12}\), and model=local \(.*base, digest"
    with pytest.raises(UserError, match=line):
        run(config)
    change_facts(world.direction, certificate={"passed": False})
    with pytest.raises(UserError, match="certificate does not hold"):
        run(config)
    (world.direction / "adapter/adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="lacks adapter/adapter_model.safetensors"):
        run(config)


def test_a_run_that_does_not_fit(world):
    path = world.run / "run.json"
    good = json.loads(path.read_text())
    config = make_config(world, steering={"run": str(world.run)})

    def refused(message, **record):
        path.write_text(json.dumps(good | record))
        with pytest.raises(UserError, match=message):
            run(config)

    refused(
        "was trained on local .digest ffff.*is another model", fingerprints={"base_model": "f" * 64}
    )
    refused("has not finished: its status is failed", status="failed")
    refused("is a cell of benchmark=serving, and no training", kind="serving")
    refused("has no certificate that its adapter was applied", certificate=None)
    files = {"adapter_model.safetensors": "0" * 64}
    refused("has changed since it was certified", certificate={"passed": True, "files": files})
    (world.run / "model/adapter_config.json").unlink()
    refused("holds no weights that answer, only a head")
    shutil.rmtree(world.run / "model")
    refused("has left no weights")
    path.unlink()
    with pytest.raises(UserError, match="is no run: it has no run.json"):
        run(config)


def test_the_positive_run_is_the_direction_s_own(world, positive):
    config = make_config(world, arm="weight_positive", coefficient=1.0)
    change_facts(
        world.direction, positive={"run": str(world.run), "sha256": {"adapter_config.json": "0"}}
    )
    with pytest.raises(UserError, match="has been trained anew since; make the direction again"):
        run(config)
    shutil.rmtree(world.run)
    with pytest.raises(
        UserError, match="arm=weight_positive takes the positive run of .* there is no"
    ):
        run(config)


def test_questions_that_adapters_train_on_are_no_evaluation(world, tmp_path):
    shutil.copytree(world.root, tmp_path / "data")
    asked = tmp_path / "data/persona/traits_eval/cheerful.json"
    trained = json.loads((tmp_path / "data/persona/traits/cheerful.json").read_text())
    content = json.loads(asked.read_text())
    content["questions"][2] = trained["questions"][1]
    asked.write_text(json.dumps(content))
    config = make_config(world._replace(root=tmp_path / "data"))
    with pytest.raises(UserError, match="1 questions of persona/traits_eval/cheerful.json are in"):
        run(config)
