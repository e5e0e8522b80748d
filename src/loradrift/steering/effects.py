"""That a dose does what it says: held against the model as it is, and against a second way."""

# Shape suffixes: B rows, T tokens, I inputs, O outputs, R rank.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.models.hooks import Hook, hooked
from loradrift.steering.answers import Answer, Asked
from loradrift.steering.doses import Dose
from loradrift.steering.elsewhere import Continued, log_likelihoods
from loradrift.weights import LowRank, read_change

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine
    from loradrift.models import Backbone

SHARE = 0.02
"""By how much of its effect a merged dose may miss what its factors predict."""

ROUNDING = 1e-3
"""Nats per token by which rounding may, whatever the effect."""


def answer_nats(
    engine: "HfEngine", asked: Sequence[Asked], answers: Sequence[Answer], dose: Dose
) -> float:
    """Log-likelihood (nats) of answers by the model as it is now, all of them together.

    Raises:
        UserError: If it is not finite.
    """
    rows = [
        Continued(each.id, each.prompt_ids, tuple(answer.token_ids))
        for each, answer in zip(asked, answers, strict=True)
    ]
    return sum(log_likelihoods(engine, rows, dose))


@contextmanager
def beside_weights(backbone: "Backbone", dose: Dose) -> Iterator[None]:
    """Add what the factors of a dose give to each module's output; the weights stay as they are."""
    lm = backbone.causal_lm
    hooks = [
        (lm.get_submodule(name), _factors(read_change(change), coefficient))
        for changes, coefficient in dose.changes
        for name, change in changes.items()
    ]
    with hooked(hooks):
        yield


def _factors(change: LowRank | Tensor, coefficient: float) -> Hook:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        x_BTI = inputs[0]
        if isinstance(change, LowRank):
            scale = coefficient * change.scale
            x_BTR = scale * (x_BTI.double() @ change.A_RI.to(x_BTI.device).T)
            added_BTO = x_BTR @ change.B_OR.to(x_BTI.device).T
        else:
            added_BTO = coefficient * (x_BTI.double() @ change.to(x_BTI.device).double().T)
        return (output.double() + added_BTO).to(output)

    return hook


def check_effect(
    engine: "HfEngine",
    dose: Dose,
    *,
    asked: Sequence[Asked],
    plain: Sequence[Asked],
    answers: Sequence[Answer],
    steered: float,
) -> dict[str, Any]:
    """Compare a dose's effect on its own answers with none, and with what its factors predict.

    Call it when the dose is out of the weights again.

    Args:
        engine: Has the model as it is.
        dose: What was done to the model.
        asked: The prompts, as they were answered.
        plain: The same without instructions.
        answers: What was answered under the dose.
        steered: Nats of the answers under the dose.

    Returns:
        ``effect_nats``, how much likelier (nats per token) the dose makes its answers; of a dose in
        the weights also ``predicted_nats``, the same by its factors beside the weights.

    Raises:
        UserError: If a dose has no effect, or another one than its factors predict.
    """
    tokens = sum(each.num_tokens for each in answers)
    effect = (steered - answer_nats(engine, plain, answers, Dose())) / tokens
    figures = {"effect_nats": effect}
    if dose.is_nothing:
        return figures
    if effect == 0 and not dose.instructions:
        raise UserError("the dose has no effect: the answers are exactly as likely without it")
    if dose.changes:
        with beside_weights(engine.backbone, dose):
            beside = answer_nats(engine, asked, answers, dose)
        figures["predicted_nats"] = effect + (beside - steered) / tokens
        if abs(beside - steered) / tokens > max(ROUNDING, SHARE * abs(effect)):
            raise UserError(
                f"the dose in the weights makes its answers {effect:.4g} nats per token likelier, "
                f"and its factors beside them {figures['predicted_nats']:.4g}: it was not merged "
                "as it should"
            )
    return figures
