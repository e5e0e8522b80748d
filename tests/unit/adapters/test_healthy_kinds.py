"""No false alarm on one kind of each sort; ``tests/slow`` has all of them."""

import pytest
from healthy_kinds import KINDS as OF_TEXTS
from healthy_kinds_of_senses import KINDS as OF_SENSES
from kind_cases import no_false_alarm

KINDS = OF_TEXTS | OF_SENSES
CORE = (
    ("llama", "saved norm by its dotted name"),
    ("llama", "embedding dora"),
    ("llama", "token classifier"),
    ("llama", "kasa"),
    ("gpt2", "plain"),
    ("bert", "masked LM saved head"),
    ("bert", "question answering"),
    ("roberta", "classifier of 4"),
    ("roberta", "adapted head 2"),
    ("t5", "classifier"),
    ("bart", "plain"),
    ("mixtral", "experts"),
    ("mamba", "plain"),
    ("vit", "patches dora"),
    ("resnet", "bn"),
    ("siglip", "MultiheadAttention"),
    ("videomae", "conv3d"),
    ("wav2vec2", "conv1d"),
    ("whisper", "plain"),
)


@pytest.mark.parametrize(("architecture", "kind"), CORE)
def test_no_false_alarm(architecture, kind, tmp_path):
    no_false_alarm(architecture, KINDS[architecture][kind], tmp_path)
