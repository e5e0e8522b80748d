"""Which adapters are served: of which runs, in which order, by which names."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import loradrift.tasks  # noqa: F401  registers them, in their order
from loradrift.config import (
    DataConfig,
    FromScratchConfig,
    PretrainConfig,
    TinyModelConfig,
    TrainerConfig,
    UserError,
)
from loradrift.config.models import ModelConfig, PretrainingConfig
from loradrift.config.running import ScaleConfig
from loradrift.runs import read_record
from loradrift.serving.choice import Source, choose_sources, training_command
from loradrift.serving.config import ServingBenchmarkConfig, ServingConfig
from loradrift.serving.planning import trained_on
from loradrift.serving.prompting import prompt_data

MODEL = {"name": "local", "path": "m", "weights": "pretrained", "attention": "sdpa"}


def write_run(runs: Path, place: str, **changed) -> Path:
    """A finished run's record, as far as the choice reads it."""
    study, task, method, seed = place.split("/")
    folder = runs / study / task / method / f"seed={seed}"
    (folder / "model").mkdir(parents=True)
    record = {
        "schema_version": 3,
        "coordinates": {
            "study": study, "task": task, "method": method, "variant": "", "seed": int(seed),
        },
        "config": {"model": MODEL, "trainer": {"rounding": 0}},
        "status": "success",
        "fingerprints": {"base_model": "abc"},
        "certificate": {"passed": True},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record | changed))
    return folder


def config_of(runs: Path, model: ModelConfig, **serving) -> ServingBenchmarkConfig:
    return ServingBenchmarkConfig(
        model=model,
        data=DataConfig(name="embedded"),
        trainer=TrainerConfig(name="cpu"),
        runs=str(runs),
        serving=ServingConfig(**serving),
    )


def choose(runs: Path, **serving) -> list[tuple[str, str]]:
    """Names, and the runs' places."""
    config = config_of(runs, ModelConfig(name="local", path="elsewhere"), **serving)
    return [
        (each.name, each.folder.relative_to(runs).as_posix()) for each in choose_sources(config)
    ]


def test_the_first_of_each_task_comes_before_further_seeds(tmp_path):
    for place in (
        "a/rte/lora/3",
        "a/sst2/lora/10",
        "a/sst2/lora/2",
        "b/mrpc/lora/1",
        "a/rte/lora/4",
    ):
        write_run(tmp_path, place)
    assert choose(tmp_path, adapters=[8]) == [
        ("sst2", "a/sst2/lora/seed=2"),
        ("mrpc", "b/mrpc/lora/seed=1"),
        ("rte", "a/rte/lora/seed=3"),
        ("sst2-seed=10", "a/sst2/lora/seed=10"),
        ("rte-seed=4", "a/rte/lora/seed=4"),
    ]
    assert [name for name, _ in choose(tmp_path, adapters=[1, 2])] == ["sst2", "mrpc"]
    assert [name for name, _ in choose(tmp_path, study="b")] == ["mrpc"]


def test_what_is_no_result_of_the_method_is_left_out(tmp_path):
    write_run(tmp_path, "a/sst2/lora/1")
    write_run(tmp_path, "a/mrpc/lora,method.rank=16/1")
    write_run(tmp_path, "a/rte/full_finetune/1")
    write_run(tmp_path, "a.search/rte/lora/1", phase="search")
    write_run(tmp_path, "a/rte/lora/2", status="failed")
    write_run(tmp_path, "a/rte/lora/3", phase="rounding")
    write_run(tmp_path, "a/rte/lora/4", certificate={"passed": False})
    write_run(tmp_path, "serving/vllm/lora/1", kind="serving")
    assert choose(tmp_path) == [("sst2", "a/sst2/lora/seed=1")]
    assert choose(tmp_path, method="lora,method.rank=16") == [
        ("mrpc", "a/mrpc/lora,method.rank=16/seed=1")
    ]


def test_folders_are_taken_as_typed_and_get_names_of_their_own(tmp_path):
    run = write_run(tmp_path, "a/sst2/lora/1")
    (other := tmp_path / "sst2").mkdir()
    folders = [str(other), str(run), str(run / "model")]
    assert [name for name, _ in choose(tmp_path, folders=folders)] == [
        "sst2", "sst2-seed=1", "sst2-seed=1-2",
    ]  # fmt: skip


def test_runs_of_one_model_are_chosen_where_there_are_several(tmp_path):
    write_run(tmp_path, "a/sst2/lora/1", config={"model": MODEL | {"name": "smollm2"}})
    with pytest.raises(UserError, match=r"model=local is not the base model .* model=smollm2"):
        choose(tmp_path)
    write_run(tmp_path, "a/mrpc/lora/1")
    assert [name for name, _ in choose(tmp_path)] == ["mrpc"]
    write_run(tmp_path, "a/rte/lora/1", fingerprints={"base_model": "def"})
    with pytest.raises(UserError, match=r"different base models, local .a/mrpc, digest abc. and"):
        choose(tmp_path)


@pytest.mark.parametrize(
    ("scale", "model", "method", "says"),
    [
        ("tiny", "tiny", "lora", "method=lora -m"),
        ("small", "smollm2", "lora", "method=lora scale=small model=smollm2 -m"),
        ("tiny", "smollm2", "rslora,method.rank=16",
         "method=rslora method.rank=16 model=smollm2 -m"),
        ("tiny", "local", "lora", "method=lora model=local model.path=m -m"),
    ],
)  # fmt: skip
def test_the_command_trains_what_was_asked_for(scale, model, method, says):
    config = ServingBenchmarkConfig(
        model=ModelConfig(name=model, path="m"),
        data=DataConfig(name="embedded"),
        trainer=TrainerConfig(name="cpu"),
        scale=ScaleConfig(name=scale),
        serving=ServingConfig(method=method),
    )
    train = "python train.py task=sst2,mrpc,rte,squad_v2"
    assert training_command(config) == f"{train} {says}"


@pytest.mark.parametrize(
    ("data", "prompts", "says"),
    [
        ("embedded", "tasks", "generated"),
        ("hub", "tasks", "real"),
        ("hub", "fixed", None),
    ],
)
def test_prompts_say_whose_rows_they_are(data, prompts, says):
    config = ServingBenchmarkConfig(
        model=ModelConfig(name="local", path="m"),
        data=DataConfig(name=data),
        trainer=TrainerConfig(name="cpu"),
        serving=ServingConfig(prompts=prompts),
    )
    assert prompt_data(config, []) == says


def test_a_run_says_what_its_adapter_was_trained_on_and_a_folder_does_not(tmp_path):
    for name, says in (("embedded", "generated"), ("hub", "real")):
        config = {"model": MODEL, "trainer": {"rounding": 0}, "data": {"name": name}}
        folder = write_run(tmp_path, f"a/sst2/lora/{len(name)}", config=config)
        assert trained_on(Source("sst2", folder, read_record(folder))) == says
    assert trained_on(Source("mine", tmp_path, None)) is None


def test_runs_from_before_a_key_of_the_model_was_there_have_its_default(tmp_path):
    recipe = PretrainingConfig(task=PretrainConfig(), method=FromScratchConfig(name="from_scratch"))
    model = TinyModelConfig(name="tiny", pretraining=recipe)
    old = asdict(model)
    del old["pretraining"]["task"]["corpus"], old["max_positions"]
    folder = write_run(tmp_path, "a/sst2/lora/1", config={"model": old, "trainer": {}})
    config = config_of(tmp_path, model)
    assert [each.folder for each in choose_sources(config)] == [folder]
    recipe.task.corpus = "persona"  # and what is not the default is another model
    with pytest.raises(UserError, match="model.pretraining.task.corpus: general -> persona; type"):
        choose_sources(config)


def test_an_adapter_that_has_vanished_is_named(tmp_path, capsys):
    kept, gone = (write_run(tmp_path, f"a/{task}/lora/1") for task in ("mrpc", "sst2"))
    (gone / "model").rmdir()
    assert [name for name, _ in choose(tmp_path)] == ["mrpc"]
    line = f"{gone} is left out: its adapter has vanished (the folder model/)"
    assert capsys.readouterr().out.splitlines() == [line]
    (kept / "model").rmdir()
    with pytest.raises(UserError, match=f"the adapter of {kept} has vanished: its folder model/"):
        choose(tmp_path)
    with pytest.raises(UserError, match="serving.folders names .*nowhere, which is no folder: it"):
        choose(tmp_path, folders=[str(tmp_path / "nowhere")])


def test_folders_that_name_different_base_models_are_refused(tmp_path):
    def adapter(name, base):
        (tmp_path / name).mkdir()
        text = json.dumps({"base_model_name_or_path": base})
        (tmp_path / name / "adapter_config.json").write_text(text)
        return str(tmp_path / name)

    x, y, local = adapter("x", "org/X"), adapter("y", "org/Y"), adapter("z", "/models/x/")
    with pytest.raises(UserError, match=r"they name org/X \(.*x\) and org/Y \(.*y\)"):
        choose(tmp_path, folders=[x, y])
    assert [name for name, _ in choose(tmp_path, folders=[x, local])] == ["x", "z"]


def test_nothing_there_says_which_commands_make_some(tmp_path):
    with pytest.raises(UserError, match=r"python train.py .* -m` .*serving.source=drawn"):
        choose(tmp_path)
    write_run(tmp_path, "a/sst2/lora/1", certificate=None)
    with pytest.raises(UserError, match="no run of lora below .* has a certificate"):
        choose(tmp_path)
    assert choose(tmp_path, source="drawn") == []
