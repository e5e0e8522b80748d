"""What is analysed, and where the results go."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config.errors import UserError, check

MEASURE_NAMES = (
    "cka", "cka_biased", "cka_rbf", "cosine", "cosine_centered", "procrustes", "svcca", "pwcca",
    "knn", "rsa",
)  # fmt: skip


RUN_ANALYSES = ("drift", "hypotheses", "weights", "report", "prove", "search", "dashboards")
"""Analyses of the runs, or of what was made of them."""

FILE_ANALYSES = {
    "squad_v2": (("dataset", "predictions"), ("na_probs",)),
    "diagnose": (("adapter",), ("base",)),
    "pairs": (("pairs", "adapter"), ("base",)),
}
"""Analyses of given files -> the keys of :class:`AnalyzeConfig` that they need, and may have."""

OWN_KEYS = FILE_ANALYSES | {
    "search": ((), ("storage",)),
    "dashboards": ((), ("project", "entity")),
}
"""Analyses -> the keys of :class:`AnalyzeConfig` that they need, and may have."""

KINDS = {  # what to type after the key
    "dataset": "SQuAD v2 file",
    "predictions": "JSON file",
    "na_probs": "JSON file",
    "adapter": "folder",
    "base": "model",
    "pairs": "CSV or TSV file",
    "storage": "URL",
    "project": "name",
    "entity": "name",
}


@dataclass(kw_only=True)
class AnalysisConfig:
    """Which analysis, of which runs."""

    name: str = MISSING
    """``drift`` (all, with the report), ``hypotheses``, ``weights``, ``report``, ``prove``,
    ``search``, ``dashboards``; or, of files that any system made, ``squad_v2``, ``diagnose``,
    ``pairs``."""

    runs: str = "runs"
    """Folder of the runs; those made elsewhere are read as well."""

    study: str | None = None
    """Name of the study; null is the only one there is."""

    measures: list[str] = field(default_factory=list)
    """Measures of drift beside CKA and cosine."""

    results: str = "results"
    """Folder of everything that is written."""

    seed: int = 0
    """Of every draw: controls, bootstrap, the self-checks' data."""

    def __post_init__(self) -> None:
        names = (*RUN_ANALYSES, *FILE_ANALYSES)
        check(self.name in names, "analysis.name", "one of " + ", ".join(names), self.name)
        for measure in self.measures:
            check(
                measure in MEASURE_NAMES,
                "analysis.measures",
                "some of " + ", ".join(MEASURE_NAMES),
                measure,
            )
        check(0 <= self.seed < 2**32, "analysis.seed", "in [0, 2^32)", self.seed)


@dataclass(kw_only=True)
class AnalyzeConfig:
    """``analyze.py``: an analysis, and what else it reads beside runs, or writes to."""

    analysis: AnalysisConfig = MISSING

    dataset: str | None = None
    """SQuAD v2 file, ``.json`` or ``.json.gz`` (``squad_v2``)."""

    predictions: str | None = None
    """JSON object: question id -> answer, "" where it is unanswerable (``squad_v2``)."""

    na_probs: str | None = None
    """JSON object: question id -> probability that it is unanswerable (``squad_v2``)."""

    adapter: str | None = None
    """Folder of a PEFT adapter, or of a run (``diagnose``, ``pairs``)."""

    base: str | None = None
    """Folder or hub name of its base model; null is what the adapter or the run names."""

    pairs: str | None = None
    """Labelled text pairs: CSV with ``text1``, ``text2``, ``label``, or MRPC's TSV (``pairs``)."""

    storage: str | None = None
    """URL of the searches' Optuna storage; null is ``sqlite:///<runs>/.search/<study>.db``
    (``search``)."""

    project: str | None = None
    """W&B project; null is ``loradrift`` (``dashboards``)."""

    entity: str | None = None
    """W&B user or team; null is the key's own (``dashboards``)."""

    def __post_init__(self) -> None:
        required, optional = OWN_KEYS.get(self.analysis.name, ((), ()))
        for key, kind in KINDS.items():
            value = getattr(self, key)
            if key in required and value is None:
                error = UserError(f"analysis={self.analysis.name} needs {key}=<{kind}>")
                error.exit_code = 2 if self.analysis.name == "diagnose" else 1  # 1 is a verdict
                raise error
            if value is not None and key not in (*required, *optional):
                raise UserError(
                    f"{key}={value} has no effect on analysis={self.analysis.name}, which does "
                    "not read it"
                )
