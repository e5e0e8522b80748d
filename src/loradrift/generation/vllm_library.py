"""vLLM inside this process: imported, started and stopped, its chatter kept from the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from loradrift.config import UserError

_open_engines: set[int] = set()
"""Engines of this process, by ``id``: what they share is taken down by the last one."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what is written to the standard streams, C code's lines too; errors tell the end of it.

    Everything that this process writes meanwhile is kept: not for use beside other threads.
    """
    with tempfile.TemporaryFile("w+b") as kept:
        saved = [os.dup(number) for number in (1, 2)]
        try:
            _flush()
            for number in (1, 2):
                os.dup2(kept.fileno(), number)
            yield
        except Exception as error:
            _flush()
            error.add_note(_end_of(kept))
            raise
        finally:
            _flush()
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _end_of(kept: IO[bytes], size: int = 4000) -> str:
    """The last lines of what was written."""
    end = kept.seek(0, os.SEEK_END)
    kept.seek(max(0, end - size))
    return kept.read().decode(errors="replace")


def start(options: Mapping[str, Any], threads: int | None) -> Any:
    """Start vLLM's ``LLM`` in this process, whose random numbers it seeds anew.

    Args:
        options: vLLM's engine arguments.
        threads: CPU threads; None leaves them.
    """
    import torch
    from vllm import LLM

    set_threads = torch.set_num_threads
    if threads is not None:
        set_threads(threads)
    try:
        with quiet():
            llm = LLM(disable_log_stats=True, **options)
    finally:
        torch.set_num_threads = set_threads  # vLLM puts a function here that does nothing
    _open_engines.add(id(llm))
    return llm


def import_vllm(accelerator: str, variables: Mapping[str, str]) -> None:
    """Import vLLM, which takes long the first time and reads its variables then.

    Raises:
        UserError: If the vLLM that is installed runs elsewhere than on the accelerator.
    """
    in_process = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "CRITICAL"}
    os.environ.update({**variables, **in_process})
    with quiet():
        from vllm import LLM  # noqa: F401
        from vllm.platforms import current_platform

        found = getattr(current_platform, "device_name", "") or "no device"
        fits = accelerator == ("cpu" if current_platform.is_cpu() else "gpu")
    if not fits:
        raise UserError(
            f"trainer.accelerator={accelerator} needs another vLLM than the one here, which runs "
            f"on {found}: `make serve-setup` makes it on a CPU, `pip install '.[serve]'` on a GPU"
        )


def stop(llm: Any) -> None:
    """End an engine and give its memory back; other engines of this process go on."""
    import gc

    from vllm.v1.engine import core

    _open_engines.discard(id(llm))
    take_down = core.cleanup_dist_env_and_memory
    with quiet():
        try:
            if _open_engines:  # the process group is everybody's
                core.cleanup_dist_env_and_memory = lambda: None
            llm.llm_engine.engine_core.shutdown()
        finally:
            core.cleanup_dist_env_and_memory = take_down
    llm.llm_engine = None
    gc.collect()
