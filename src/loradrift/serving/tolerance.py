"""How far an answer may be below its model's best, and still be that model's."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Tolerance(NamedTuple):
    """How far (nats) a right answer may be below the likeliest one."""

    token: float
    """Most of a single token."""

    answer: float
    """Most of all its tokens together, for each 128 of them."""

    fixed: float = 0.0
    """Added to that, however short the answer: a single token may be a tie."""

    others_count: bool = False
    """Whether an answer is wrong that is another model's token for token and not its own."""

    def allows(self, gaps: Sequence[float]) -> bool:
        """Whether an answer with these gaps is right; NaN is not."""
        if not gaps:
            return True
        most = self.fixed + self.answer * len(gaps) / 128
        return max(gaps) <= self.token and sum(gaps) <= most


TOLERANCES = {
    "float32": Tolerance(1e-3, math.inf),
    "bfloat16": Tolerance(math.inf, 1.75, fixed=0.25, others_count=True),
}
"""In float32, two tokens whose log-probabilities are 1e-3 apart are as good as each other: the
order of sums, which differs between kernels and batches, decides which one is the best. A bfloat16
number has 8 bits, so a logit of 16 to 32 is off by up to 1/16, and single tokens by more: of 288
answers of 128 tokens (the small model, its base and four adapters, merged and not) the right ones
are together 0 to 1.1 nats below the likeliest, and those of other models 4 to 960. A shorter answer
may be less far below, in proportion, and one tie of 1/4 more."""
