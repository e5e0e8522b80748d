"""``analysis=persona``: steering cells -> tables and findings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.persona import AnalyzePersonaConfig
from loradrift.analysis.persona.arms import DEFAULTS, MANDATORY, Arm, arms_of
from loradrift.analysis.persona.checks import instrument_lines
from loradrift.analysis.persona.composition import Composition, composition_table, compositions
from loradrift.analysis.persona.curves import Curve, make_curves
from loradrift.analysis.persona.doses import dose_table
from loradrift.analysis.persona.efficiency import Efficiency, read_efficiency
from loradrift.analysis.persona.entanglement import matrix_table, selectivity, side_effects
from loradrift.analysis.persona.equivalence import equivalence
from loradrift.analysis.persona.findings import Finding
from loradrift.analysis.persona.gains import (
    Gap,
    Reached,
    gain_table,
    gap_table,
    gaps,
    main_arms,
    reach_all,
)
from loradrift.analysis.persona.missing import missing_arms, missing_lines
from loradrift.analysis.persona.prevention import prevention_table, preventions
from loradrift.analysis.persona.samples import sample_answers
from loradrift.analysis.persona.spaces import read_spaces
from loradrift.analysis.persona.trends import trend_table
from loradrift.analysis.persona.verdicts import (
    composition_finding,
    efficiency_finding,
    interpretability,
    prediction_finding,
)
from loradrift.analysis.persona_projection import AnalyzeProjectionConfig
from loradrift.analysis.persona_projection.tables import Prediction, find_prediction
from loradrift.analysis.steering_cells.behaviour import Behaviour, behaviours
from loradrift.analysis.steering_cells.compared import Compared, read_compared
from loradrift.analysis.steering_cells.judged import Judged
from loradrift.config import UserError


class Persona(NamedTuple):
    """Everything that the report shows."""

    settings: AnalyzePersonaConfig
    compared: Compared
    arms: Mapping[Judged, Arm]
    curves: Sequence[Curve]
    reached: Sequence[Reached]
    main: Mapping[str, Arm]
    """By kind: the variant of an arm that verdicts are about."""

    gaps: Sequence[Gap]
    compositions: Sequence[Composition]
    efficiency: Efficiency | None
    prediction: Prediction | None
    tables: Mapping[str, pd.DataFrame]
    """``doses``, ``trends``, ``gains``, ``differences``, ``entanglement``, ``composition``,
    ``prevention``, ``spaces``, ``interference``, ``samples``, ``answers``."""

    findings: Mapping[str, Finding]
    """By question: ``equivalence``, ``prediction`` …"""

    missing: Sequence[str]
    problems: Sequence[str]


def tabulate(settings: AnalyzePersonaConfig) -> Persona:
    """Read the cells and compute everything.

    Raises:
        UserError: As :func:`read_compared`.
    """
    config, runs = settings.analysis, Path(settings.analysis.runs)
    compared = read_compared(runs, settings.cell, settings.judged_by)
    judged, seed = compared.judged, config.seed
    base = [each for each in judged if not each.cell.run]
    plain = [each for each in base if not each.cell.also]
    by_cell = arms_of([each.cell for each in base])
    arms = {each: by_cell[each.cell] for each in base}
    curves, problems = make_curves(plain, arms)
    if not curves:
        raise UserError(f"no arm can be compared: {problems[0] if problems else 'none was judged'}")
    reached = reach_all(curves, settings.coherence, seed)
    main = main_arms(reached)
    found, sides = gaps(reached), side_effects(reached, seed)
    composed, lines = compositions(base, arms, seed)
    behaved, unusable = behaviours(judged, runs, seed)
    pairs, unpaired = preventions(behaved)
    base_model = judged[0].cell.record.fingerprints.get("base_model")
    efficiency, costs = read_efficiency(runs, base_model, seed)
    study = study_of(plain)
    spaces = read_spaces(Path(config.results), study, base_model, vector_of(curves, main))
    prediction, why = predicted(settings, behaved, study, base_model)
    steered = [each for each in compared.measured if not (each.run or each.also)]
    known = [each.cell for each in plain]
    tables = {
        "doses": dose_table(curves, seed),
        "gains": gain_table(reached),
        "differences": gap_table(found),
        "trends": trend_table(curves, seed),
        "entanglement": matrix_table(sides),
        "composition": composition_table(composed),
        "prevention": prevention_table(pairs),
        "spaces": spaces.layers,
        "interference": spaces.interference,
        "samples": sample_answers(curves, seed),
        "answers": answer_counts(judged),
    }
    lost = [arm for arm in missing_arms(known) if arm in MANDATORY]
    findings = {
        "equivalence": equivalence(found, main, settings.margin, settings.coherence, lost),
        "prediction": prediction_finding(prediction, why, tables["prevention"]),
        "efficiency": efficiency_finding(efficiency),
        "composition": composition_finding(
            composed, main.get("weight"), settings.margin, settings.coherence
        ),
        "interpretability": interpretability(
            selectivity(sides), main.get("weight"), spaces.lines()
        ),
    }
    return Persona(
        settings=settings,
        compared=compared,
        arms=arms,
        curves=curves,
        reached=reached,
        main=main,
        gaps=found,
        compositions=composed,
        efficiency=efficiency,
        prediction=prediction,
        tables=tables,
        findings=findings,
        missing=missing_lines(steered),
        problems=[
            *instrument_lines(curves, settings.coherence),
            *(*compared.problems, *problems, *lines, *unusable, *unpaired, *costs),
            *spaces.problems,
            *(prediction.problems if prediction else []),
        ],
    )


def study_of(judged: Sequence[Judged]) -> str:
    """The study whose directions most cells were steered along."""
    steered = [each.cell for each in judged if each.cell.arm not in ("none", "prompt")]
    count = Counter(str(cell.keys.get("study", DEFAULTS["study"])) for cell in steered)
    return count.most_common(1)[0][0] if count else str(DEFAULTS["study"])


def vector_of(curves: Sequence[Curve], main: Mapping[str, Arm]) -> str:
    """The kind of vector that the arm of activations adds."""
    own = [curve for curve in curves if curve.arm == main.get("activation")]
    cells = [each.cell for curve in own for dose, at in curve.cells.items() if dose for each in at]
    return str(cells[0].keys.get("vector", DEFAULTS["vector"]) if cells else DEFAULTS["vector"])


def predicted(
    settings: AnalyzePersonaConfig,
    behaved: Sequence[Behaviour],
    study: str,
    base_model: str | None,
) -> tuple[Prediction | None, str]:
    """What projections say of behaviour, or why nothing can be said."""
    config = settings.analysis
    try:
        found = find_prediction(
            behaved,
            Path(config.results),
            study=study,
            base=base_model,
            gain=AnalyzeProjectionConfig.gain,
            seed=config.seed,
        )
    except UserError as error:
        return None, str(error)
    return found, ""


def answer_counts(judged: Sequence[Judged]) -> pd.DataFrame:
    """Answers by cell and status, as judged for the cell's own trait."""
    rows = []
    for each in judged:
        cell, counts = each.cell, each.counts(each.cell.trait)
        cut = sum(row.get("ended", "").lower() == "false" for row in cell.answers)
        place = {"cell": cell.name, "trait": cell.trait, "arm": cell.arm, "dose": cell.coefficient}
        rows.append(place | {"answers": sum(counts.values())} | counts | {"cut": cut})
    return pd.DataFrame(rows)
