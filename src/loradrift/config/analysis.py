"""What is analysed, and where the results go."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config.errors import require

MEASURE_NAMES = (
    "cka", "cka_biased", "cka_rbf", "cosine", "cosine_centered", "procrustes", "svcca", "pwcca",
    "knn", "rsa",
)  # fmt: skip


@dataclass(kw_only=True)
class AnalysisConfig:
    """Which analysis, of which runs."""

    name: str = MISSING
    """``drift`` (all, with the report), ``hypotheses``, ``weights``, ``report`` or ``prove``."""

    runs: str = "runs"
    """Folder of the runs; those made elsewhere are read as well."""

    study: str | None = None
    """Name of the study; null is the only one there is."""

    measures: list[str] = field(default_factory=list)
    """Measures of drift beside CKA and cosine."""

    results: str = "results"
    """Folder of everything that is written."""

    seed: int = 0
    """Of every draw: controls, bootstrap, the proofs' data."""

    def __post_init__(self) -> None:
        names = ("drift", "hypotheses", "weights", "report", "prove")
        require(self.name in names, "analysis.name", "one of " + ", ".join(names), self.name)
        for measure in self.measures:
            require(
                measure in MEASURE_NAMES,
                "analysis.measures",
                "some of " + ", ".join(MEASURE_NAMES),
                measure,
            )
        require(0 <= self.seed < 2**32, "analysis.seed", "in [0, 2^32)", self.seed)


@dataclass(kw_only=True)
class AnalyzeConfig:
    """``analyze.py``."""

    analysis: AnalysisConfig = MISSING
