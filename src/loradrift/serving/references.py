"""The right answers: merged models' own, proven by transformers."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from loradrift.config import UserError
from loradrift.generation.base import Engine
from loradrift.progress import Tenths
from loradrift.serving.answers import Gaps
from loradrift.serving.plan import Plan, Prompt, make_requests
from loradrift.serving.samples import ReferenceAnswer
from loradrift.serving.tolerance import TOLERANCES

OpenModel = Callable[[str | None], AbstractContextManager[Engine]]
"""Opens the engine of a merged model; None is the base."""


def make_references(
    plan: Plan,
    prompts: Sequence[Prompt],
    open_model: OpenModel,
    gaps: Gaps,
    progress: Tenths | None = None,
) -> list[ReferenceAnswer]:
    """Each model's answer to each prompt.

    Raises:
        UserError: If one is not what transformers gives, within
            :data:`~loradrift.serving.tolerance.TOLERANCES`.
    """
    tolerance = TOLERANCES[plan.dtype]
    numbers = range(len(prompts))
    rows: list[ReferenceAnswer] = []
    for done, model in enumerate((None, *(each.name for each in plan.adapters)), 1):
        with open_model(model) as engine:
            requests = make_requests(prompts, numbers, [None] * len(numbers))
            completions = engine.generate(requests, plan.sampling)
        answers = list(zip(numbers, (each.token_ids for each in completions), strict=True))
        for (prompt, tokens), own in zip(answers, gaps(model, answers), strict=True):
            if not tolerance.allows(own):
                raise UserError(
                    f"engine={plan.engine} answers prompt {prompt} with the "
                    f"{f'merged model of {model}' if model else 'base model'} otherwise than "
                    f"transformers: a token is {max(own):.3g} nats below the best, all together "
                    f"{sum(own):.3g}, which is too much for {plan.dtype}"
                )
            largest = max(own, default=0.0)
            rows.append(ReferenceAnswer(model, prompt, list(tokens), largest))
        if progress is not None:
            progress.reach(done)
    return rows
