"""The top of the page: the answer, what it rests on, and the verdicts."""

from loradrift.analysis.reconstruction.findings import Finding
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.analysis.reconstruction.verdicts import said, side_text
from loradrift.report.blocks import Block, Card, Cards, Facts, Paragraph

SHORT = 3
"""Problems that stand at the top of the page; of more, the rest is counted."""


def headline(found: Reconstruction) -> str:
    """The page's answer: the arm with the highest F1 against the baseline, and the verdict."""
    base, best = found.of_baseline, found.best
    nothing, full = (found.scores.of_base(rung, "f1") for rung in ("no_context", "full_text"))
    scale = ""
    if nothing and full:
        scale = f" (no context {nothing.value:.3g}, full text {full.value:.3g})"
    first = (
        f"From {found.compression:.3g} times fewer bytes than the text, {base.arm.named} "
        f"reaches F1 {base.f1.estimate:.3g}{scale}."
    )
    if any(each.latent_ignored for each in found.compared):
        ignored = found.findings["latents"].verdict
        first += f" The latents are {ignored}: what these answer says nothing of the context."
    if best.gain is None:
        return first
    others = len(found.compared) - 1
    if others == 1:
        return f"{first} {best.arm.text}: {said(best.gain)}, {side_text(best.gain)}."
    return (
        f"{first} Best of {others} adapted arms: {best.arm.text}, {said(best.gain)}. Does any arm "
        f"gain? {verdict_text(found.findings['adaptation'])}."
    )


def verdict_text(finding: Finding) -> str:
    """``undecided: the interval holds 2 points``."""
    return f"{finding.verdict}: {finding.why}" if finding.why else finding.verdict


def facts(found: Reconstruction) -> Facts:
    """What the figures rest on."""
    run, keys = found.scores.first, dict(found.setting)
    record, flat = run.record, run.flat
    rows = record.rows
    table = found.tables["rate"]
    own = table[(table["num_latents"] == int(keys["task.num_latents"]))]
    size = own[own["rung"] == "soft_prompt"].iloc[0]
    weights = ", ".join(
        f"{key.removeprefix('task.').removesuffix('_weight').replace('_', ' ')} {value}"
        for key, value in sorted(keys.items())
        if key.endswith("_weight") and float(value)
    )
    seeds = sorted({seed for own in found.scores.by_arm.values() for seed in own})
    contexts = len(found.scores.resampling.sizes_C)
    dumped = found.tables["cka"]["layers"]
    depth = f", {dumped.max()} blocks" if len(dumped) else ""
    pairs = [
        ("Task", f"{record.task_label}, study {found.study}"),
        ("Model", f"{flat.get('model.name')} ({str(record.fingerprints.get('base_model'))[:12]})"
                  f"{depth}"),
        ("Rows", f"{rows.get('train', 0):,} to train on, {len(found.scores.ids):,} evaluated, on "
                 f"{contexts:,} contexts that are in no other split"),
        ("Latent", f"encoder {keys['task.encoder']}, {keys['task.num_latents']} x "
                   f"{keys['task.d_z']} numbers of {keys['task.latent_bits']} bits: "
                   f"{size['bytes']:,.0f} bytes, of a text {size['text_bytes']:,.0f} "
                   f"({size['text_tokens']:.0f} tokens): {found.compression:.3g} times fewer, "
                   f"{size['bits_per_token']:.3g} bits per token"),
        ("Losses", weights),
        ("Training", f"{record.steps:,} steps; the checkpoint with the best validation "
                     f"{keys['task.metric']}, on rows that are not reported"),
        ("Arms", f"{len(found.compared)}, seeds {', '.join(map(str, seeds))}"),
        ("Made with", ", ".join(filter(None, [record.device, _commits(found)]))),
    ]  # fmt: skip
    return Facts([(name, text) for name, text in pairs if text])


def _commits(found: Reconstruction) -> str:
    """The commits of the code that the runs were made with."""
    known = [str(run.record.git.get("commit") or "")[:10] for run in found.runs]
    different = sorted(filter(None, set(known)))
    return f"commit{'s' * (len(different) > 1)} {', '.join(different)}" if different else ""


def cards(found: Reconstruction) -> Cards:
    """The claims, each with its verdict."""
    return Cards(
        [
            Card(
                finding.name,
                finding.claim,
                finding.verdict,
                [
                    *([f"{finding.why[:1].upper()}{finding.why[1:]}."] if finding.why else []),
                    *finding.lines,
                ],
                finding.color,
            )
            for finding in found.findings.values()
        ]
    )


def problem_blocks(found: Reconstruction) -> list[Block]:
    """What is missing or left out."""
    more = len(found.problems) - SHORT
    rest = [f"{more} more lines like these stand at the end of the page."] if more > 0 else []
    return [Paragraph(line) for line in [*found.problems[:SHORT], *rest]]
