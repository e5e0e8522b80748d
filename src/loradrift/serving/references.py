"""The right answers: merged models' own, proven by transformers."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from loradrift.config import UserError
from loradrift.generation.base import Engine
from loradrift.serving.answers import MOST_GAP, Gaps
from loradrift.serving.plan import Plan, Prompt, make_requests
from loradrift.serving.samples import ReferenceAnswer

OpenModel = Callable[[str | None], AbstractContextManager[Engine]]
"""Opens the engine of a merged model; None is the base."""


def make_references(
    plan: Plan, prompts: Sequence[Prompt], open_model: OpenModel, gaps: Gaps
) -> list[ReferenceAnswer]:
    """Each model's answer to each prompt.

    Raises:
        UserError: If one is not what transformers gives: a token that is further below the best
            than :data:`~loradrift.serving.answers.MOST_GAP`.
    """
    most, size = MOST_GAP[plan.dtype], max(plan.batch_sizes)
    rows: list[ReferenceAnswer] = []
    for model in (None, *(each.name for each in plan.adapters)):
        answers: list[tuple[int, tuple[int, ...]]] = []
        with open_model(model) as engine:
            for first in range(0, len(prompts), size):
                numbers = range(first, min(first + size, len(prompts)))
                requests = make_requests(prompts, numbers, [None] * len(numbers))
                completions = engine.generate(requests, plan.sampling)
                answers += zip(numbers, (each.token_ids for each in completions), strict=True)
        for (prompt, tokens), own in zip(answers, gaps(model, answers), strict=True):
            largest = max(own, default=0.0)
            if not largest <= most:
                raise UserError(
                    f"engine={plan.engine} answers prompt {prompt} with the "
                    f"{f'merged model of {model}' if model else 'base model'} otherwise than "
                    f"transformers: a token is {largest:.3g} nats below the best one, which may be "
                    f"at most {most:g} in {plan.dtype}"
                )
            rows.append(ReferenceAnswer(model, prompt, list(tokens), largest))
    return rows
