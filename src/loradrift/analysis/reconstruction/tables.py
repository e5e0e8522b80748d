"""``analysis=reconstruction``: runs -> tables and findings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.reconstruction import AnalyzeReconstructionConfig
from loradrift.analysis.reconstruction.arms import Arm, arms_of
from loradrift.analysis.reconstruction.comparison import (
    Comparison,
    compare,
    comparison_table,
    find_baseline,
)
from loradrift.analysis.reconstruction.drift import cka_table, mean_cka
from loradrift.analysis.reconstruction.examples import example_table
from loradrift.analysis.reconstruction.findings import (
    Finding,
    collapse_finding,
    drift_finding,
    help_finding,
    read_finding,
    some,
    target_finding,
    text_finding,
)
from loradrift.analysis.reconstruction.reading import (
    ReconstructionRun,
    choose_study,
    read_runs,
)
from loradrift.analysis.reconstruction.rungs import ladder_table, rate_table
from loradrift.analysis.reconstruction.scores import Scores, base_problems, gather
from loradrift.analysis.reconstruction.settings import (
    Setting,
    belongs,
    chosen_runs,
    left_out,
    main_setting,
    of_family,
    setting_of,
)
from loradrift.analysis.reconstruction.training import collapse_table, training_table
from loradrift.analysis.self_check.tables import run_self_checks
from loradrift.similarity import SelfCheck


class Reconstruction(NamedTuple):
    """Everything that the report shows."""

    settings: AnalyzeReconstructionConfig
    study: str
    setting: Setting
    runs: Sequence[ReconstructionRun]
    """Of the setting, with those that collapsed."""

    arms: Mapping[ReconstructionRun, Arm]
    scores: Scores
    baseline: Arm
    compared: Sequence[Comparison]
    compression: float
    """Mean bytes of a text over those of a latent."""

    tables: Mapping[str, pd.DataFrame]
    """``arms``, ``ladder``, ``rate``, ``training``, ``collapse``, ``cka``, ``examples``."""

    findings: Mapping[str, Finding]
    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]

    @property
    def best(self) -> Comparison:
        """The arm with the highest F1, of those other than the baseline if there are any."""
        others = [each for each in self.compared if each.arm != self.baseline]
        return max(others or self.compared, key=lambda each: each.f1.estimate)

    @property
    def of_baseline(self) -> Comparison:
        """The baseline's own figures."""
        return next(each for each in self.compared if each.arm == self.baseline)


def tabulate(settings: AnalyzeReconstructionConfig) -> Reconstruction:
    """Read the runs and compute everything.

    Raises:
        UserError: If there are no runs, none of the baseline, or the baseline is several arms.
        SelfCheckError: If CKA fails its self-check.
    """
    config = settings.analysis
    self_checks = run_self_checks(["cka"], config.seed)
    study = choose_study(Path(config.runs), config.study)
    found, problems = read_runs(Path(config.runs), study)
    found = chosen_runs(found, settings.setting)
    arms = dict(zip(found, arms_of([run.record.config for run in found]), strict=True))
    setting = main_setting(found, arms, settings.baseline)
    runs = [run for run in found if belongs(run, setting)]
    scores, lines = gather(runs, arms, config.seed)
    baseline = find_baseline(scores, settings.baseline)
    compared = compare(scores, baseline)
    by_setting = defaultdict(list)
    for run in found:
        if of_family(run, setting) and not run.collapsed:
            by_setting[setting_of(run)].append(run)
    rate, more = rate_table(by_setting, arms, config.seed)
    cka, unread = cka_table([run for run in runs if not run.collapsed], arms, Path(config.results))
    best = max(compared, key=lambda each: each.f1.estimate)
    shown = list(dict.fromkeys([best.arm, baseline]))
    tables = {
        "arms": with_facts(comparison_table(compared), scores, cka),
        "ladder": ladder_table(scores),
        "rate": rate,
        "training": training_table(runs, arms),
        "collapse": collapse_table(runs, arms),
        "cka": cka,
        "examples": example_table(scores, shown, config.seed),
    }
    compression = compression_of(scores)
    findings = {
        "adaptation": help_finding(compared, baseline),
        "base": text_finding(scores),
        "latents": read_finding(compared),
        "target": target_finding(scores, compared, compression),
        "collapse": collapse_finding(tables["collapse"]),
        "drift": drift_finding(cka),
    }
    return Reconstruction(
        settings=settings,
        study=study,
        setting=setting,
        runs=runs,
        arms=arms,
        scores=scores,
        baseline=baseline,
        compared=compared,
        compression=compression,
        tables=tables,
        findings=findings,
        self_checks=self_checks,
        problems=[
            *base_problems(scores),
            *collapsed_lines(runs, arms),
            *notice_lines([run for run in found if of_family(run, setting)], arms, setting),
            *seed_lines(scores, baseline),
            *problems,
            *lines,
            *(line for line in more if line not in lines),
            *unread,
            *left_out(found, setting),
        ],
    )


def compression_of(scores: Scores) -> float:
    """Mean bytes of the texts over the bytes of their latents; NaN where these are not known."""
    text = scores.of_base("full_text", "bytes")
    own = scores.of_arm(next(iter(scores.by_arm)), "bytes")
    return text.value / own.value if text and own and own.value else float("nan")


def with_facts(table: pd.DataFrame, scores: Scores, cka: pd.DataFrame) -> pd.DataFrame:
    """The table of arms with what their runs' records say."""
    firsts = [next(iter(own.values())).record for own in scores.by_arm.values()]
    return table.assign(
        trainable=[record.parameters.get("trainable", float("nan")) for record in firsts],
        cka=[mean_cka(cka, arm) for arm in scores.by_arm],
    )


def collapsed_lines(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm]
) -> list[str]:
    """Runs that were ended because they had collapsed: their arms' figures lack them."""
    return [
        f"{arms[run].text}, seed {run.seed}: {run.record.error or 'it collapsed'}; it was ended "
        "there and is in no mean"
        for run in runs
        if run.collapsed
    ]


def notice_lines(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm], setting: Setting
) -> list[str]:
    """What the runs' records say that nobody must overlook, each notice once.

    Runs of other sizes than the setting's, of the rates, are named with their latents.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        latents = "" if belongs(run, setting) else f"{run.flat['task.num_latents']} latents, "
        for notice in run.record.notices:
            found[notice].append(f"{arms[run].text}, {latents}seed {run.seed}")
    return [f"{some(names)}: {notice}" for notice, names in found.items()]


def seed_lines(scores: Scores, baseline: Arm) -> list[str]:
    """Arms that do not have all of the baseline's seeds."""
    wanted = set(scores.seeds(baseline))
    return [
        f"{arm.text} lacks seed {', '.join(map(str, sorted(wanted - {*own})))}: it is compared "
        "over the seeds that both have"
        for arm, own in scores.by_arm.items()
        if wanted - {*own}
    ]
