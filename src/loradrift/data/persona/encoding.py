"""From questions and answers to token ids: the prompt whole, then the answer that is learned."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.data.base import Example, rows_fingerprint
from loradrift.data.persona.prompts import prompt_ids
from loradrift.data.tokens import (
    Encoded,
    TokenTable,
    join_parts,
    special_ids,
    token_ids,
    token_table,
    tokenization_fingerprint,
)

LAYOUT = "prompt answer eos"
"""How a row becomes tokens. Part of the fingerprint: change it together with the code."""


def answers_fingerprint(tokenizer: Any, max_length: int) -> str:
    """Digest of how questions and answers become tokens."""
    parts = [
        LAYOUT,
        tokenization_fingerprint(tokenizer, max_length),
        str(tokenizer.chat_template),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tokenize_answers(
    examples: Sequence[Example], tokenizer: Any, max_length: int, cache: Path
) -> TokenTable:
    """Token ids of each example, whose prompt is a question and whose target is the answer to it.

    The labels say where answers begin: the loss is on their tokens and on the one that ends them.
    An answer that is cut to ``max_length`` has no end, which it would teach in the wrong place.

    Raises:
        UserError: If a question leaves no room for its answer, or an answer has no token.
    """
    key = f"answers{rows_fingerprint(examples)}{answers_fingerprint(tokenizer, max_length)}"
    starts: list[int] = []

    def encode() -> Encoded:
        _, eos = special_ids(tokenizer)
        special = set(tokenizer.all_special_ids)
        prompts = {text: prompt_ids(tokenizer, text) for text in {each.prompt for each in examples}}
        answers = token_ids(tokenizer, [each.target for each in examples])
        rows, num_truncated = [], 0
        for example, answer in zip(examples, answers, strict=True):
            prompt = prompts[example.prompt]
            room = max_length - len(prompt)
            if room < 1 or not answer:
                raise UserError(
                    f"row {example.id} must have a token of its answer within task.max_length="
                    f"{max_length}, got {len(prompt)} of the question and {len(answer)} of the "
                    "answer"
                )
            whole = len(answer) + len(eos) <= room
            num_truncated += not whole
            parts = [([token], int(token not in special)) for token in prompt]
            parts += [(answer[:room], 1), (eos if whole else [], 0)]
            rows.append(join_parts(*parts))
            starts.append(len(prompt))
        return rows, num_truncated

    return token_table(cache, key, encode, [each.id for each in examples], starts)
