"""Whether an answer is a model's own, by transformers in fp32."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from loradrift.generation.base import Completion, EngineSettings
from loradrift.serving.answers import Answer
from loradrift.serving.plan import Plan, Prompt, make_requests

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine


class Prover:
    """``Gaps`` of a cell's models; one of them is loaded at a time."""

    def __init__(self, plan: Plan, prompts: Sequence[Prompt]) -> None:
        self.plan, self.prompts = plan, prompts
        self._open = ExitStack()
        self._engine: tuple[Path, HfEngine] | None = None

    def __enter__(self) -> "Prover":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def __call__(self, model: str | None, answers: Sequence[Answer]) -> list[list[float]]:
        """How far each token is below the model's best, in nats."""
        requests = make_requests(
            self.prompts, [number for number, _ in answers], [None] * len(answers)
        )
        completions = [Completion(str(i), tokens, ()) for i, (_, tokens) in enumerate(answers)]
        return self._engine_of(self.plan.model_of(model)).greedy_gaps(requests, completions)

    def _engine_of(self, folder: Path) -> "HfEngine":
        from loradrift.generation.hf import open_hf

        if self._engine is None or self._engine[0] != folder:
            self._engine = None
            self._open.close()
            plan = self.plan
            settings = EngineSettings(
                model=folder,
                accelerator=plan.accelerator,
                threads=plan.threads,
                max_length=plan.prompt_length + plan.max_tokens,
            )
            self._engine = folder, self._open.enter_context(open_hf(settings))
        return self._engine[1]
