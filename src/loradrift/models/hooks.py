"""The one place that hooks a layer or changes a model's mode; it leaves both as it found them."""

# Shape suffixes: B rows of one batch, T tokens, D width.

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""Takes the module, its inputs and its output; what it returns, if anything, is the new output."""


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Switch to eval mode and give every submodule its own mode back."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Call each hook after its module has run; all are gone afterwards, whatever happens inside."""
    # A compiled module would run its graph, which knows nothing of hooks added later.
    with torch.compiler.set_stance("force_eager"), ExitStack() as stack:
        for module, hook in hooks:
            stack.enter_context(module.register_forward_hook(hook))
        yield


@contextmanager
def block_outputs(
    blocks: Sequence[nn.Module], receive: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Hand each block's output to ``receive(index, x_BTD)`` the moment it is computed."""

    def hook(index: int, _module: nn.Module, _inputs: object, output: Any) -> None:
        receive(index, output[0] if isinstance(output, tuple | list) else output)

    with hooked((block, partial(hook, index)) for index, block in enumerate(blocks)):
        yield
