"""What is learned, never how the backbone was made trainable: one entry a task.

Importing this package registers the entries below; the code behind them is loaded when it is used.
"""

from loradrift.config.tasks import add_task as register
from loradrift.tasks import classification, persona, pretrain, reconstruction, squad_v2
from loradrift.tasks.spec import Baseline, Encoding, Outcome, TaskSpec, spec_of

__all__ = ["Baseline", "Encoding", "Outcome", "TaskSpec", "register", "spec_of"]

for _spec in (
    *classification.SPECS,
    squad_v2.SPEC,
    reconstruction.SPEC,
    persona.SPEC,
    pretrain.SPEC,
):
    register(_spec)
