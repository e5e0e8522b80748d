"""Memory of a training, computed: where it cannot be measured, and for tables of other machines.

The transformer is taken for a Llama (Touvron et al. 2023, arXiv:2302.13971): grouped attention and
a gated MLP of three matrices. Not counted are the process itself, kernels' workspaces, and what an
allocator loses between its blocks.
"""

from dataclasses import dataclass

FLOAT, HALF = 4, 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a model as a run trains it."""

    total: int
    trainable: int
    depth: int
    width: int
    inner: int
    """Width of the MLP."""

    keys: int
    """Width of the keys, and of the values."""

    vocabulary: int
    tied: bool
    """Whether the head's weights are the embeddings."""

    @property
    def multiplied(self) -> int:
        """Weights of the blocks: those that a token is multiplied with."""
        return self.total - self.vocabulary * self.width * (1 if self.tied else 2)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one device at the peak of a training."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_memory(
    shape: Shape, positions: int, *, checkpointing: bool, devices: int = 1
) -> Memory:
    """Bytes of one of some devices that share weights, gradients and moments (``trainer=fsdp``).

    Master weights, gradients and AdamW's two moments are float32; blocks compute in bfloat16.

    Args:
        shape: Of the model.
        positions: Rows times width of the longest batch of one device.
        checkpointing: Whether a block's activations are computed again in the backward pass.
        devices: How many share.
    """
    block = positions * block_bytes(shape)
    streams = shape.depth * positions * FLOAT * shape.width  # each block's input
    activations = streams + block if checkpointing else shape.depth * block
    # copies in bfloat16 that autocast keeps of weights that train, or a gathered block's weights
    copied = HALF * (shape.trainable if devices == 1 else 0)
    gathered = 2 * FLOAT * shape.total / shape.depth if devices > 1 else 0
    return Memory(
        weights=FLOAT * shape.total / devices + copied + gathered,
        gradients=FLOAT * shape.trainable / devices,
        optimizer=2 * FLOAT * shape.trainable / devices,
        activations=activations,
    )


def block_bytes(shape: Shape) -> int:
    """What one block keeps of one position for its backward pass, under autocast.

    Two norms keep their input and the normed stream in float32, each of six linear layers its own
    bfloat16 copy of what it reads, attention the queries, keys and values, and the MLP four streams
    of its width.
    """
    norms, linear = 2 * 2 * FLOAT * shape.width, 6 * HALF * shape.width
    attention = HALF * (shape.width + 2 * shape.keys)
    return norms + linear + attention + 4 * HALF * shape.inner


def neutral_memory(shape: Shape, positions: int, devices: int = 1) -> float:
    """Bytes while next tokens of neutral text are predicted: weights, and scores of all words."""
    scores = positions * shape.vocabulary * (HALF + 2 * FLOAT)
    return FLOAT * shape.total / devices + scores


def training_flops(shape: Shape, positions: int, *, checkpointing: bool) -> float:
    """Floating-point operations of training steps on so many positions.

    Forward and the gradient of the activations take two for each weight and position; so does the
    gradient of each weight that trains, and the forward pass once more under checkpointing.
    """
    passes = 3 if checkpointing else 2
    learned = min(shape.trainable, shape.multiplied)
    return 2.0 * positions * (passes * shape.multiplied + learned)


def forward_flops(shape: Shape, positions: int) -> float:
    """Floating-point operations of evaluations."""
    return 2.0 * positions * shape.multiplied
