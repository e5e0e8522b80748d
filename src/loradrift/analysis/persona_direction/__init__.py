"""``analysis=persona_direction``: the difference of a trait's two adapters, as an adapter."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, UserError, check
from loradrift.config.errors import check_option
from loradrift.config.values import folder_field


@dataclass(kw_only=True)
class PersonaDirectionConfig(AnalyzeConfig):
    """Write each trait's direction: its positive adapter less its negative one, and vectors."""

    traits: list[str] = field(default_factory=list)
    """Traits whose directions are written; an empty list is all that have runs on both sides."""

    arm: str | None = None
    """The arm whose runs are used, as its folder is written without trait and side: ``rslora``, or
    ``rslora,method.rank=16``; null is the only one there is."""

    answers: int = 128
    """Answers a side from which the activation vectors and the mean inputs are taken."""

    max_tokens: int = 64
    """The first so many tokens of each answer are read."""

    accelerator: str = "cpu"
    """``cpu`` or ``gpu``: where the base model runs."""

    cache: str = folder_field(".cache")
    """Folder of the generated data, and of digests."""

    def __post_init__(self) -> None:
        check(self.answers > 0, "answers", "positive", self.answers)
        check(self.max_tokens > 0, "max_tokens", "positive", self.max_tokens)
        check_option(self, "accelerator", "cpu", "gpu")
        if len(set(self.traits)) < len(self.traits):
            raise UserError(f"traits must differ, got {', '.join(self.traits)}")


register(Analysis("persona_direction", PersonaDirectionConfig, "tables:tabulate", "page:show"))
