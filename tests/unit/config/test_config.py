"""Every combination a user can type must compose, and a wrong one must say why."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import once
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.errors import ConfigCompositionException

from loradrift.config import UserError, running
from loradrift.error_messages import one_line, option_keys

CONF = Path(__file__).parents[3] / "conf"
LEARNING = ("lora", "rslora", "dora", "pissa", "full_finetune", "head_only")
GUESSES = {"majority", "random"}
BASELINES = dict.fromkeys(("sst2", "mrpc", "rte"), GUESSES | {"zero_shot"})
BASELINES |= {"squad_v2": GUESSES | {"abstain"}, "persona": set(), "reconstruction": set()}
NULL_SPAN = ("task=squad_v2", "task.answerability=null_span")


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_pair_of_task_and_method_composes_or_says_why_not(load):
    tasks = {name: load(f"task={name}") for name in choices("task") if name != "pretrain"}
    known = {*choices("method")} - {"from_scratch", "abstain"}
    methods = {name: load(f"method={name}") for name in known}
    methods["abstain"] = load("task=squad_v2", "method=abstain")
    assert all(run.task.name == task for task, run in tasks.items())
    assert all(run.method.name == method for method, run in methods.items())
    heads = {"persona": "method=head_only would train nothing of task=persona, which puts no head"}
    for (task, of_task), (method, of_method) in product(tasks.items(), methods.items()):
        baseline = method not in LEARNING
        if baseline and method not in BASELINES[task]:
            with pytest.raises(UserError, match=f"method={method} is not for task={task}"):
                replace(of_task, method=of_method.method)
        elif method == "head_only" and task in heads:
            with pytest.raises(UserError, match=heads[task]):
                replace(of_task, method=of_method.method)
        else:
            replace(of_task, method=of_method.method)


def test_what_tests_merge_once_is_what_hydra_merges(load, monkeypatch):
    typed = ["method.rank=4", "task=squad_v2", "experiment=overfit", "task.stride=8"]
    typed += ["method.target_modules=[q_proj]", "data.seed=${seed}", "seed=7", "seed=9"]
    copies = [load(*typed) for _ in range(2)]
    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", once.MERGE)
    monkeypatch.setattr(ConfigRepository, "load_config", once.PARSE)
    assert copies == [load(*typed)] * 2
    assert copies[0].data.seed == 9 and load().method.rank == 8


@pytest.mark.parametrize("group", ["scale", "model", "trainer", "logger", "experiment", "study"])
def test_every_option_of_the_other_groups_composes(load, group):
    for option in choices(group):
        extra = ["model.path=somewhere"] if (group, option) == ("model", "local") else []
        load(f"{group}={option}", *extra)


def test_pretraining_brings_its_method_and_the_small_model_carries_its_recipe(load):
    assert load("task=pretrain").method.name == "from_scratch"
    assert load().model.pretraining.task == load("task=pretrain").task


def test_scale_sets_model_data_and_trainer_but_overrides_take_precedence(load):
    paper = load("scale=paper")
    assert (paper.model.name, paper.data.name, paper.trainer.name) == ("tinyllama", "hub", "gpu")
    assert paper.trainer.precision == "bf16-mixed"
    assert (paper.method.optim.lr, load().method.optim.lr) == (2e-4, 2e-3)
    assert load("scale=paper", "data=embedded").data.name == "embedded"


@pytest.mark.parametrize(
    ("flags", "on_cpu"),
    [("fma avx512_bf16 avx512f", "bf16-mixed"), ("fma avx512f", "32-true"), (None, "32-true")],
)
def test_scale_small_computes_in_what_the_machine_is_fast_in(
    load, tmp_path, monkeypatch, flags, on_cpu
):
    monkeypatch.setattr(running, "CPU_FACTS", tmp_path / "cpuinfo")
    if flags:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    small = load("scale=small")
    assert (small.model.name, small.data.name, small.trainer.name) == ("smollm2", "hub", "cpu")
    assert small.trainer.precision == on_cpu
    assert load("scale=small", "trainer=gpu").trainer.precision == "bf16-mixed"
    assert load("scale=small", "trainer.precision=32-true").trainer.precision == "32-true"


@pytest.mark.parametrize("scale", choices("scale"))
def test_every_task_and_method_has_its_sizes_and_rates_at_every_scale(load, scale):
    for name in {*choices("task")} - {"pretrain"}:
        task = load(f"scale={scale}", f"task={name}").task
        assert task.max_steps or task.epochs
    rates = {name: load(f"scale={scale}", f"method={name}").method for name in LEARNING}
    assert rates["lora"].optim.lr == rates["dora"].optim.lr > rates["full_finetune"].optim.lr
    assert (
        len({method.optim.head_lr for method in rates.values() if method.name != "head_only"}) == 1
    )


def test_there_are_few_files_and_they_are_flat():
    files = list(CONF.rglob("*.yaml"))
    assert len(files) <= 82  # about 80
    groups = {path.parent.relative_to(CONF) for path in files}
    assert {group for group in groups if len(group.parts) > 1} == {Path("hydra/launcher")}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.rank=0"], "method.rank must be positive, got 0"),
        (["method.alpha=-1"], "method.alpha must be positive, got -1.0"),
        (["method.dropout=1"], r"method.dropout must be in \[0, 1\), got 1.0"),
        (["method.target_modules=[]"], "method.target_modules is empty"),
        (["method=pissa", "method.dora=true"], "method.init=pissa and method.dora=true do not go"),
        (["method=majority", "method.name=mode"], "method.name must be one of majority, random"),
        (["method=majority", "experiment=overfit"], "task.min_train_accuracy has no effect on"),
        (["method=majority", "trainer.rounding=1"], "trainer.rounding has no effect on method=maj"),
        (["trainer.rounding=-1"], "trainer.rounding must be at least 0, got -1"),
        (["trainer.threads=0"], "trainer.threads must be positive, got 0"),
        (["method.init=random"], "method.init must be one of default, gaussian, pissa, got random"),
        (["scale.adapter_lr=0"], "scale.adapter_lr must be positive, got 0.0"),
        (["scale.batch_size=-1"], "scale.batch_size must be positive, got -1"),
        (["method.optim.lr=-1"], "method.optim.lr must be positive, got -1.0"),
        (["method.optim.head_lr=0"], "method.optim.head_lr must be positive, got 0.0"),
        (["method.optim.warmup_ratio=1"], r"method.optim.warmup_ratio must be in \[0, 1\)"),
        (["method.optim.weight_decay=-1"], "method.optim.weight_decay must be at least 0"),
        (["task.max_length=1"], "task.max_length must be at least 2, got 1"),
        (["task.batch_size=0"], "task.batch_size must be positive, got 0"),
        (["task.max_steps=0"], "task.max_steps must be positive, got 0"),
        (["task.epochs=-1"], "task.epochs must be positive, got -1.0"),
        (["task.max_steps=null"], "task.epochs and task.max_steps are both null"),
        (["task.metric=loss"], "task.metric must be accuracy or f1, got loss"),
        (["task.min_train_accuracy=2"], r"task.min_train_accuracy must be in \(0, 1\], got 2.0"),
        (["task=pretrain", "task.metric=f1"], "task.metric must be loss, got f1"),
        (["task=pretrain", "task.min_train_accuracy=1"], "task.min_train_accuracy must be null"),
        (
            ["task=pretrain", "task.corpus=films"],
            "task.corpus must be general or persona or reconstruction, got films",
        ),
        (["task=pretrain", "method=lora"], "task=pretrain and method=from_scratch belong together"),
        (["method=from_scratch"], "task=pretrain and method=from_scratch belong together"),
        (["variant=a"], "variant must be left out: it follows from what else is typed, got a"),
        (["earlier_variant=a"], "earlier_variant must be left out: it follows from what else"),
        (["model=local"], "model=local needs model.path=<folder or hub name of a model>"),
        (["model.path=x"], "model.path must be left out with model=tiny, got x"),
        (["model.hidden_size=100"], "model.hidden_size must be 32 x model.num_heads"),
        (["model.num_kv_heads=3"], "model.num_kv_heads must be a divisor of model.num_heads=4"),
        (["model.weights=none"], "model.weights must be pretrained or random, got none"),
        (["model.attention=flash"], "model.attention must be sdpa or eager, got flash"),
        (["data=local"], "data.root must be the folder of the official files"),
        (["data.root=x"], "data.root must be left out with data=embedded"),
        (["data.name=web"], "data.name must be one of embedded, local, hub, got web"),
        (["phase=report"], "phase must be one of sanity, baselines, .*, rounding, got report"),
        (["data.train_rows=0"], "data.train_rows must be positive, got 0"),
        (["data.validation_rows=0"], "data.validation_rows must be positive, got 0"),
        (["data.evaluation_split=train"], "data.evaluation_split must be dev or test, got train"),
        (["trainer.precision=bf16-true"], "trainer.precision must be 32-true or bf16-mixed"),
        (["trainer.accelerator=tpu"], "trainer.accelerator must be cpu or gpu, got tpu"),
        (["trainer=fsdp", "trainer.devices=1"], "devices must be at least 2 with fsdp, got 1"),
        (["trainer=fsdp", "trainer.compile=true"], "trainer.compile must be false with fsdp"),
        (["trainer.devices=0"], "trainer.devices must be positive, got 0"),
        (["trainer.gradient_clip=-1"], "trainer.gradient_clip must be at least 0, got -1.0"),
        (["callbacks.activation_dump.every_n_steps=0"], "every_n_steps must be positive, got 0"),
        (["callbacks.activation_dump.pooling=max"], "pooling must be mean or last or tokens"),
        (["callbacks.activation_dump.dtype=int8"], "dtype must be float16 or bfloat16 or float32"),
        (["callbacks.forgetting.tokens=0"], "forgetting.tokens must be at least 2, .* got 0"),
        (["seed=-1"], r"seed must be in \[0, 2\^32\), got -1"),
        (["seed=5000000000"], r"seed must be in \[0, 2\^32\), got 5000000000"),
        (["study.name=../x"], "study.name must be the name of one folder, which .*, got '../x'"),
        (["study.name='~'"], "study.name must be the name of one folder, which .*, got '~'"),
        (["study.name=.search"], "study.name must be .* neither . nor ~, got '.search'"),
        ([f"study.name={'x' * 300}"], "study.name must be at most 200 bytes long, got 300"),
        (["task.epochs=1e308"], r"task.epochs must be at most 2\^53, got 1e\+308"),
        (["cache=/dev/null"], "cache must be a folder, or the name of a new one, got /dev/null"),
        (["runs=/dev/null/x"], "runs must be a folder.*, got /dev/null/x, below the file /dev/nul"),
        ([f"results={'x' * 300}"], "results must be names of at most 255 bytes, got x"),
        (["task.name=foo"], "task.name must be one of sst2, mrpc, rte, got foo"),
        (["task=pretrain", "task.name=sst2"], "task.name must be pretrain, got sst2"),
        (["method.name=full_finetune"], "method.name must be one of lora, rslora, dora, pissa"),
        (["method=full_finetune", "method.name=lora"], "method.name must be full_finetune"),
        (["logger.name=foo"], "logger.name must be one of csv, wandb, tensorboard, got foo"),
        (["+method.rnak=4"], r"\+method.rnak: there is no such key. Did you mean: method.rank"),
        (["+task.foo=4"], r"\+task.foo: there is no such key"),
        (["method=zero_shot", "task=squad_v2"], "method=zero_shot is not for task=squad_v2"),
        (["method=abstain", "task=sst2"], "method=abstain is not for task=sst2"),
        (["task=squad_v2", "task.metric=accuracy"], "task.metric must be f1 or exact"),
        (["task=squad_v2", "task.stride=62"], "task.stride must be less than the 38 tokens"),
        (["task=squad_v2", "task.answerability=no"], "must be head or null_span, got no"),
        (["task=squad_v2", "task.num_best=0"], "task.num_best must be positive, got 0"),
        ([*NULL_SPAN, "task.answerability_weight=2"], "has no effect on task.answerability=null_s"),
    ],
)
def test_an_illegal_value_names_the_key_the_rule_and_the_value(load, overrides, message):
    with pytest.raises(UserError, match=message):
        load(*overrides)


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("task=sst3", "task=sst3: no such option. Did you mean: task=sst2?"),
        ("method.rnak=4", "Did you mean: 'rank'?"),
        ("lr=1", "Did you mean: method.optim.lr"),
        ("trainer.batch_size=1", "Did you mean: scale.batch_size or task.batch_size?"),
        ("task.stride=3", "'stride' not in 'GlueConfig'. Another option of task= has that key"),
    ],
)
def test_an_unknown_option_or_key_suggests_the_nearest(load, override, suggestion):
    with pytest.raises(ConfigCompositionException) as caught:
        load(override)
    line = one_line(caught.value)
    assert suggestion in line
    assert "\n" not in line and "schema" not in line


def test_every_suggested_key_exists_in_the_schema():
    keys = option_keys()
    assert {"seed", "method.rank", "method.optim.lr", "model.pretraining.task.max_steps"} <= {*keys}


def test_the_help_lists_the_axes():
    template = (CONF / "train.yaml").read_text()
    listed = dict(re.findall(r"^ {6}(\w+) +([\w |]+?)$", template, flags=re.MULTILINE))
    for group in ("task", "method", "scale", "model", "data", "trainer", "logger", "study"):
        assert set(listed[group].split(" | ")) == set(choices(group)), group


def test_a_folder_that_cannot_be_made_is_named_by_its_key(monkeypatch):
    typed = ["train.py", "results=r", "runs='/proc/x'", "cache=/proc/xy"]
    monkeypatch.setattr("sys.argv", typed)
    rule = "must be a folder that can be made and written, got"
    for path, line in (
        ("/proc/x", f"runs {rule} '/proc/x' (No such file: /proc/x)"),
        ("/proc/xy/tokens", f"cache {rule} /proc/xy (No such file: /proc/xy/tokens)"),
        ("/proc", "FileNotFoundError: [Errno 2] No such file: '/proc'"),
    ):
        assert one_line(FileNotFoundError(2, "No such file", path)) == line
