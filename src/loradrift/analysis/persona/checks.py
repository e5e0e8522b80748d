"""What answers say of the instrument: a dose of 0 changes nothing, and others change something."""

from collections.abc import Sequence

from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.steering_cells.judged import Judged


def instrument_lines(curves: Sequence[Curve], threshold: float) -> list[str]:
    """A line for each arm whose answers contradict its doses, and for a base without coherence."""
    plain = {curve.steered: curve for curve in curves if curve.arm.kind == "none"}
    lines = []
    for curve in curves:
        nothing = plain.get(curve.steered)
        if curve is nothing:
            coherence = float(curve.coherences_VND[1, :, 0].mean())
            if coherence < threshold:
                lines.append(
                    f"without steering the answers about {curve.steered} have a coherence of "
                    f"{coherence:.3g}: nothing can be compared at coherence={threshold:g}"
                )
        elif nothing is not None:
            lines += _contradictions(curve, nothing.cells[0.0][0])
    return lines


def _contradictions(curve: Curve, nothing: Judged) -> list[str]:
    base, where = _texts(nothing), f"{curve.arm.text} of {curve.steered}"
    lines = []
    greedy = not nothing.cell.keys.get("temperature")
    for each in curve.cells[0.0] if greedy else ():
        if changed := sum(base[name] != text for name, text in _texts(each).items()):
            lines.append(
                f"{where} changes {changed} of {len(base)} answers at dose 0, where nothing may "
                f"change: see {each.cell.name}"
            )
    doses = [cells for dose, cells in curve.cells.items() if dose]
    if doses and all(_texts(each) == base for cells in doses for each in cells):
        lines.append(f"{where} changes no answer at any dose: it may not have been applied")
    return lines


def _texts(judged: Judged) -> dict[str, str]:
    return {row["id"]: row["answer"] for row in judged.cell.answers}
