"""The parts of the page, of one cell's tables."""

from collections.abc import Sequence

import pandas as pd

from loradrift.analysis.serving.advice import advise, untold
from loradrift.analysis.serving.answers import Answers, answers_text, apart_text
from loradrift.analysis.serving.plans import MIXES
from loradrift.analysis.serving.summary import arm_table
from loradrift.analysis.serving.tables import Measured, Serving
from loradrift.analysis.serving.text import ratio_text
from loradrift.analysis.serving.verdict import CLAIM, H3, model_text
from loradrift.report.blocks import (
    Block,
    Card,
    Cards,
    Facts,
    Paragraph,
    Table,
    interval_text,
)
from loradrift.report.verdicts import Verdict, verdict_color


def facts(measured: Measured) -> Facts:
    """What the figures rest on."""
    cell, plan = measured.cell, measured.cell.plan
    answers = measured.answers
    versions = cell.record.versions
    known = [f"{name} {versions[name]}" for name in ("vllm", "torch", "transformers", "peft")
             if versions.get(name)]  # fmt: skip
    commit = str(cell.record.git.get("commit") or "")[:10]
    threads = f"{plan.threads} thread{'s' * (plan.threads != 1)}" if plan.threads else ""
    rows = [
        ("Model", model_text(cell)),
        ("Adapters", ", ".join(f"{each.label}, rank {each.rank}" for each in plan.adapters)),
        ("Engine", ", ".join(filter(None, [plan.setting(), threads]))),
        ("Requests", f"{_prompts(plan.prompts)}, {plan.max_tokens} tokens each; "
                     f"{MIXES.get(plan.mix, plan.mix)}"),
        ("Rounds", cell.marks or f"{cell.rounds}, arms in random order in each"),
        ("Answers", answers_text(answers)),
        ("Not told apart", apart_text(plan)),
        ("Left out", plan.tiny_note.removeprefix("left out here: ")),
        ("Made with", ", ".join(filter(None, [*known, commit and f"commit {commit}"]))),
        ("Made", ", ".join(filter(None, [str(cell.record.ended or "")[:10], cell.record.device]))),
    ]  # fmt: skip
    return Facts([(name, text) for name, text in rows if text])


def _prompts(kind: str) -> str:
    return "prompts of drawn tokens" if kind == "fixed" else "prompts from the tasks' own rows"


def cards(measured: Measured) -> Cards:
    """H3, and whether the answers were right."""
    found, answers = measured.verdict, measured.answers
    lines = [found.why] if found.why else []
    if found.rounds:
        lines.append(
            f"{ratio_text(found.ratio, found.low, found.high)} by t interval; bootstrap "
            f"{interval_text(100 * (found.bootstrap_low - 1), 100 * (found.bootstrap_high - 1))} %"
        )
    right = Verdict.SUPPORTED if answers.sound else Verdict.REFUTED
    rate = f"wrong adapter rate {100 * answers.wrong_adapter_rate:.2g} %"
    told = []
    if answers.told_apart is not None:
        told.append(f"{answers.told_apart:,} could be told from every other model's")
    return Cards(
        [
            Card("H3 serving", CLAIM, str(found.verdict), lines, verdict_color(found.verdict)),
            Card(
                "Answers",
                "every answer is that of the model that was asked",
                _right(answers),
                [f"{answers.answers:,} checked; {rate}", *told],
                verdict_color(right),
            ),
        ]
    )


def _right(answers: Answers) -> str:
    if not answers.timed:
        return "none checked"
    return "all right" if answers.sound else f"{max(answers.wrong, answers.wrong_adapter)} wrong"


def problems(serving: Serving) -> list[Block]:
    """What could not be read, and what the record of a cell that failed says."""
    first = serving.cells[0]
    error = [f"This cell's status is {first.cell.record.status}: {first.cell.record.error}"]
    lines = [*(error if first.cell.record.error else []), *first.problems, *serving.problems]
    return [Paragraph(line) for line in lines]


def advice_blocks(measured: Measured) -> list[Block]:
    """What to set, and what these data cannot tell."""
    rows = advise(measured)
    if not rows:
        return [Paragraph("There is no advice: nothing was measured that any could rest on.")]
    frame = pd.DataFrame(rows, columns=["setting", "value", "because"])
    return [
        Table(frame, "Computed from this measurement: what to set, with the figures behind it."),
        *map(Paragraph, untold(measured)),
    ]


def apart_blocks(measured: Measured) -> list[Block]:
    """On how many prompts one model's right answer passes for another's."""
    apart, plan = measured.cell.apart, measured.cell.plan
    if apart is None:
        return []
    answers = measured.answers
    could = answers.answers - (answers.told_apart or 0)
    said = f"{could:,} of {answers.answers:,} checked answers, as long as they are, could be"
    short = [Paragraph(f"{said} another model's too.")] if could else []
    if not apart.shares:
        said = "On no prompt does the right answer of a model pass for another's as a whole."
        return [Paragraph(said), *short]
    shares = sorted(apart.shares, key=lambda each: -each[2])
    rows = [(plan.adapter_label(a), plan.adapter_label(b), 100 * c) for a, b, c in shares]
    frame = pd.DataFrame(rows, columns=["asked", "answer of", "of the prompts (%)"])
    caption = (
        "On how many prompts the right answer of one model passes for another's, because the two "
        "coincide or differ in ties only. Pairs that are not here are told apart on every prompt."
    )
    if plan.dtype != "float32":
        caption += (
            " By the tolerance alone: an answer that is another model's token for token is refused "
            "too, unless the two are alike on every prompt."
        )
    return [Table(frame, caption), *short]


def stability_blocks(measured: Measured) -> list[Block]:
    """Whether rounds are alike, and which calls are far off."""
    found, plan = measured.stability, measured.cell.plan
    blocks: list[Block] = [Paragraph(line) for line in found.lines]
    if len(found.outliers):
        frame = found.outliers.assign(arm=[plan.label(name) for name in found.outliers["arm"]])
        frame = frame.rename(columns={"load": "batch", "order": "place in its round",
                                      "ratio": "time / expected"})  # fmt: skip
        caption = "Outliers: calls far from their arm's, batch's and round's median."
        blocks.append(Table(frame, caption))
    return blocks


def _overhead(found: H3) -> str:
    return ratio_text(found.ratio, found.low, found.high) if found.rounds else "-"


def cells_table(cells: Sequence[Measured]) -> Table:
    """All cells side by side."""
    rows = []
    for each in cells:
        found, table = each.verdict, arm_table(each).set_index("arm")
        rows.append(
            {
                "cell": each.cell.name,
                "model": model_text(each.cell),
                "setting": each.cell.plan.setting(),
                "at": each.at,
                "rounds": each.cell.marks or str(each.cell.rounds),
                "merged (tokens/s)": table["tokens/s"].get("merged models"),
                "2 adapters (tokens/s)": table["tokens/s"].get("2 adapters"),
                "overhead at batch 8": _overhead(found),
                "H3": str(found.verdict),
                "wrong answers": each.answers.wrong,
            }
        )
    return Table(
        pd.DataFrame(rows),
        "All cells: two adapters against merged models. Tokens per second are those of the load "
        "in the column at; H3 and its overhead are of batch 8 alone.",
    )
