"""``benchmark=steering``: one cell, in which a trait's questions are answered under one dose."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.caching import recall
from loradrift.config import UserError
from loradrift.config.benchmarks import device_name
from loradrift.files import read_json, write_json
from loradrift.judges import JudgeConfig, judge_cell, open_judge, resolve_judge
from loradrift.progress import announced, tell
from loradrift.runs import Cell, Status, open_benchmark
from loradrift.steering.config import SteeringBenchmarkConfig
from loradrift.steering.door import check_door

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine
    from loradrift.steering.plan import Plan


def run(config: SteeringBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Answer a cell's questions, or what is left of them.

    Raises:
        UserError: If something that the user can fix is wrong.
    """
    check_door(config, overrides)
    judge = resolve_judge(config.judge, config.data)  # before anything is answered
    from loradrift.steering.plan import prepare

    with announced("making the dose and the questions"):
        plan = prepare(config)
    with open_benchmark(config, plan.identity, overrides) as cell:
        if cell.finished:
            tell(f"{cell.folder}: finished already")
        else:
            tell(f"{cell.folder}: {'going on' if cell.record.resumed else 'starting'}")
            cell.save(
                fingerprints=plan.fingerprints,
                device=device_name(config.trainer.accelerator, config.trainer.threads),
            )
            _measure(cell, config, plan)
    judge_answers(config, judge)


def judge_answers(config: SteeringBenchmarkConfig, judge: JudgeConfig) -> None:
    """Have the answers of a finished cell scored; what is scored already stands.

    Raises:
        UserError: If the judge cannot answer. The answers are kept, and the same command goes on.
    """
    if judge.name == "none":
        return
    with open_judge(judge, config.data, Path(config.cache)) as opened:
        scored = judge_cell(config.cell, opened, judge.traits)
    tell(f"{config.cell}: {scored} scores by judge={opened.name}")


def _measure(cell: Cell, config: SteeringBenchmarkConfig, plan: "Plan") -> None:
    from loradrift.generation.base import Sampling
    from loradrift.generation.hf import open_hf
    from loradrift.steering.answers import answer_all, drop_batches, write_answers
    from loradrift.steering.effects import answer_nats, check_effect
    from loradrift.training.resources import peak_memory_bytes, reset_peak_memory

    steering, began = config.steering, time.perf_counter()
    sampling = Sampling(
        max_tokens=steering.max_tokens,
        temperature=steering.temperature,
        ignore_eos=False,
        seed=config.seed,
    )
    write_prompts(cell.folder / "prompts.json", plan)
    reset_peak_memory()
    with open_hf(settings(config, plan)) as engine, plan.standing.merged(engine.backbone):
        with plan.dose.in_weights(engine.backbone):
            batches = answer_all(
                engine,
                plan.asked,
                plan.dose,
                sampling,
                batch_size=steering.batch_size,
                tokenizer=plan.tokenizer,
                folder=cell.folder,
            )
            elsewhere = measure_elsewhere(cell.folder, config, engine, plan)
            first = batches[0].answers
            asked, plain = plan.asked[: len(first)], plan.plain[: len(first)]
            steered = answer_nats(engine, asked, first, plan.dose)
        effect = check_effect(
            engine, plan.dose, asked=asked, plain=plain, answers=first, steered=steered
        )
    write_answers(cell.folder / "answers.csv", batches)
    answers = [each for batch in batches for each in batch.answers]
    tokens = sum(each.num_tokens for each in answers)
    rate = tokens / sum(batch.seconds for batch in batches)
    cell.save(
        status=Status.SUCCESS,
        certificate=plan.certificate,
        metrics={
            **elsewhere,
            **effect,
            "tokens_per_s": rate,
            "mean_tokens": tokens / len(answers),
            "ended": sum(each.ended for each in answers) / len(answers),
        },
        performance={
            "wall_time_s": time.perf_counter() - began,
            "tokens_per_s": rate,
            "peak_memory_bytes": float(peak_memory_bytes(config.trainer.accelerator)),
        },
    )
    drop_batches(cell.folder)


def measure_elsewhere(
    folder: Path, config: SteeringBenchmarkConfig, engine: "HfEngine", plan: "Plan"
) -> dict[str, float | None]:
    """What the dose costs on neutral text and on the task; each is measured once in a cell."""
    from loradrift.steering.elsewhere import measure_neutral, measure_task

    figures: dict[str, float | None] = {"neutral_loss": None, "task_accuracy": None}
    if plan.neutral:
        measure = partial(measure_neutral, engine, plan.neutral, plan.dose)
        figures["neutral_loss"] = _once(folder / "neutral.json", measure)["loss"]
    if plan.task:
        measure = partial(measure_task, engine, str(config.steering.task), plan.task, plan.dose)
        rows = _once(folder / "task.json", measure)["rows"]
        figures["task_accuracy"] = sum(row["correct"] for row in rows) / len(rows)
    return figures


def _once(path: Path, measure: "partial[dict[str, Any]]") -> dict[str, Any]:
    """What a file holds, which is measured first if it is not there or is damaged."""
    found: dict[str, Any] | None = recall(path, read_json)
    if found is None:
        found = measure()
        write_json(path, found)
    return found


def write_prompts(path: Path, plan: "Plan") -> None:
    """Write ``prompts.json``: what the model reads, as text."""
    texts = plan.tokenizer.batch_decode([each.prompt_ids for each in plan.asked])
    prompts = [
        {"id": each.id, "question": each.question, "prompt": text, "tokens": len(each.prompt_ids)}
        for each, text in zip(plan.asked, texts, strict=True)
    ]
    write_json(path, prompts)


def settings(config: SteeringBenchmarkConfig, plan: "Plan") -> Any:
    """The engine of a cell.

    Raises:
        UserError: If the model has too few positions for a prompt and its answer.
    """
    from loradrift.generation.base import EngineSettings
    from loradrift.generation.settings import text_config

    prompt, most = plan.longest_prompt, config.steering.max_tokens
    length = max(prompt + most, plan.longest_row)
    positions = text_config(plan.standing.folder).get("max_position_embeddings")
    if positions is not None and 0 < positions < length:
        has = f"of the {positions} positions of model={config.model.name}"
        if plan.longest_row > positions:
            raise UserError(
                f"the longest text that is read has {plan.longest_row} tokens, instructions "
                f"included, {has}: steering.neutral_rows=0 steering.task=null reads none"
            )
        raise UserError(
            f"steering.max_tokens must be at most {positions - prompt}, because the longest prompt "
            f"has {prompt} {has}, got {most}"
        )
    return EngineSettings(
        plan.standing.folder,
        accelerator=config.trainer.accelerator,
        threads=config.trainer.threads,
        max_length=length,
    )
