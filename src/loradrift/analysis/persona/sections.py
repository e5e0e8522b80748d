"""The parts of the page, in the order of the five questions."""

from loradrift.analysis.persona.findings import Finding, points
from loradrift.analysis.persona.judge import judge_text
from loradrift.analysis.persona.tables import Persona
from loradrift.analysis.persona.verdicts import arm_means
from loradrift.report.blocks import Block, Card, Cards, Facts, Paragraph
from loradrift.report.verdicts import verdict_color

SHORT = 3
"""Problems that stand at the top of the page; of more, the rest is counted."""


def headline(persona: Persona) -> str:
    """The page's answer: what was found of the first questions."""
    gained = arm_means(persona.reached)
    main = [persona.main.get(kind) for kind in ("prompt", "activation", "weight")]
    parts = [f"{arm.text} {points(interval)}" for arm, interval in gained.items() if arm in main]
    at = f"At coherence {persona.settings.coherence:g}"
    first = f"{at} the trait rises by: {', '.join(parts)}. " if parts else ""
    found = persona.findings["equivalence"]
    return f"{first}Equivalence of weights and activations: {verdict_text(found)}."


def verdict_text(found: Finding) -> str:
    """``undecided: the interval holds the margin``."""
    return f"{found.verdict}: {found.why}" if found.why else str(found.verdict)


def facts(persona: Persona) -> Facts:
    """What the figures rest on."""
    judged, first = persona.compared.judged, persona.compared.judged[0]
    record, keys = first.cell.record, first.cell.keys
    counts = persona.tables["answers"][
        ["scored", "empty", "refusal", "unparsable", "unjudged"]
    ].sum()
    said = ", ".join(f"{int(number):,} {name}" for name, number in counts.items() if number)
    traits = sorted({each.cell.trait for each in judged})
    asked = {each.cell.trait: len(each.cell.questions) for each in judged}
    steered = [each.cell for each in judged if each.cell.arm not in ("none", "prompt")]
    seeds = sorted({cell.seed for cell in steered})
    studies = ", ".join(sorted({str(cell.keys.get("study")) for cell in steered}))
    commit = str(record.git.get("commit") or "")[:10]
    rows = [
        ("Model", f"{record.coordinates.get('model')} "
                  f"({str(record.fingerprints.get('base_model'))[:12]})"),
        ("Traits", ", ".join(f"{trait} ({asked[trait]} questions)" for trait in traits)),
        ("Answers", f"{said}; {keys.get('samples')} per question, temperature "
                    f"{keys.get('temperature')}, at most {keys.get('max_tokens')} tokens"),
        ("Judge", judge_text(persona)),
        ("Directions", f"study {studies}, seeds {', '.join(map(str, seeds))}" if seeds else "none"),
        ("Variants", variant_text(persona)),
        ("Cells", str(len(judged))),
        ("Made with", ", ".join(filter(None, [record.device, commit and f"commit {commit}"]))),
    ]  # fmt: skip
    return Facts([(name, text) for name, text in rows if text])


def variant_text(persona: Persona) -> str:
    """Which variants stand for their arm, where there are several."""
    arms = {curve.arm for curve in persona.curves}
    several = [arm for kind, arm in persona.main.items()
               if sum(each.kind == kind for each in arms) > 1]  # fmt: skip
    if not several:
        return ""
    return f"those that gain most stand for their arm: {', '.join(arm.text for arm in several)}"


def cards(persona: Persona) -> Cards:
    """The five questions, each with its verdict."""
    return Cards(
        [
            Card(
                found.name,
                found.claim,
                str(found.verdict),
                [
                    *([f"{found.why[:1].upper()}{found.why[1:]}."] if found.why else []),
                    *found.lines,
                ],
                verdict_color(found.verdict),
            )
            for found in persona.findings.values()
        ]
    )


def problem_blocks(persona: Persona) -> list[Block]:
    """What is missing, and what could not be used."""
    lines = [*persona.missing, *persona.problems]
    more = len(lines) - SHORT
    rest = [f"{more} more lines like these stand at the end of the page."] if more > 0 else []
    return [Paragraph(line) for line in [*lines[:SHORT], *rest]]
