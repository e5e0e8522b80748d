"""Requests judged before an engine sees them: inside it, one bad request can end the others."""

import hashlib
from collections.abc import Collection, Sequence

from loradrift.config.errors import UserError, excerpt
from loradrift.generation.base import EngineSettings, Request


def check_requests(
    requests: Sequence[Request],
    settings: EngineSettings,
    adapters: Collection[str],
    *,
    vocabulary: int | None,
    max_tokens: int,
) -> None:
    """Refuse what no engine can answer.

    Args:
        requests: What is asked.
        settings: The engine's, of which ``max_length`` holds.
        adapters: Names that the engine knows.
        vocabulary: How many tokens the model knows; None leaves them unjudged.
        max_tokens: Tokens of each answer.

    Raises:
        UserError: If an adapter is unknown, two requests have one id, or a prompt is empty, too
            long, or of tokens that the model does not have.
    """
    seen = set()
    for request in requests:
        name = f"request {excerpt(request.id)}"
        if request.id in seen:
            raise UserError(f"{name} is given twice: ids must differ")
        seen.add(request.id)
        if request.adapter is not None and request.adapter not in adapters:
            known = f"it has {', '.join(adapters)}" if adapters else "it has none"
            asks = f"{name} asks for the adapter {excerpt(request.adapter)}"
            raise UserError(f"{asks}, which the engine does not have; {known}")
        length = len(request.prompt_ids)
        if length == 0:
            raise UserError(f"{name} has an empty prompt")
        if length + max_tokens > settings.max_length:
            raise UserError(
                f"{name} must have at most {settings.max_length} tokens (max_length), answer "
                f"included, got {length} + {max_tokens}"
            )
        for token in (min(request.prompt_ids), max(request.prompt_ids)):
            if vocabulary is not None and not 0 <= token < vocabulary:
                rule = f"from 0 to {vocabulary - 1}, as the model has them"
                raise UserError(f"{name}: its token ids must be {rule}, got {token}")


def request_seed(seed: int, request: Request) -> int:
    """The seed of one request's draws: they do not depend on what is answered beside it."""
    digest = hashlib.sha256(f"{seed}/{request.id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
