"""The adapters that a vLLM knows, in this process or in a server: loaded, judged and asked for."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from loradrift.adapters import AdapterFiles, read_files
from loradrift.config import UserError
from loradrift.generation import vllm_rules
from loradrift.generation.base import EngineSettings, Request
from loradrift.generation.errors import AdapterVanished, refuse_absent
from loradrift.generation.requests import check_requests
from loradrift.generation.settings import text_config
from loradrift.weights import StoredWeights


def preflight(settings: EngineSettings, engine: str = "vllm") -> list[int]:
    """Judge settings before vLLM starts, which ``engine`` is; gives the adapters' ranks.

    Raises:
        UserError: If vLLM is not installed, or cannot serve the model or an adapter; says why.
    """
    vllm_rules.check_installed(engine)
    vllm_rules.check_model(settings)
    base, ranks = StoredWeights(settings.model), []
    for name, folder in settings.adapters.items():
        refuse_absent(name, folder)
        ranks.append(vllm_rules.check_adapter(read_files(folder), base))
    return ranks


def stamp_of(name: str, folder: Path) -> object:
    """What tells whether an adapter's files are still the same (:func:`vllm_rules.stamp`).

    Raises:
        AdapterVanished: If one is gone; names the adapter.
    """
    try:
        return vllm_rules.stamp(folder)
    except UserError as error:
        raise AdapterVanished(f"adapter {name} has vanished: {error}") from None


class VllmAdapters:
    """A model in vLLM, with adapters side by side; subclasses say how one is loaded.

    Args:
        settings: What it serves.
        max_rank: The rank that its LoRA has room for; 0 without LoRA.
    """

    def __init__(self, settings: EngineSettings, max_rank: int) -> None:
        self.settings = settings
        self.start_s = 0.0
        self.load_s: dict[str, float] = {}
        """Seconds that each adapter took to load."""

        self.max_rank = max_rank
        self._vocabulary = text_config(settings.model).get("vocab_size")
        self._folders: dict[str, Path] = {}
        self._stamps: dict[str, object] = {}
        self._held = 0  # adapters in vLLM, which may keep those that were unloaded
        self._every_slot_used = False

    def judged(self, files: AdapterFiles) -> AdapterFiles:
        """The files without what this engine has a place for beside factors."""
        return files

    def load_adapter(self, name: str, folder: Path) -> float:
        """Make another adapter known; gives the seconds that vLLM took to load it.

        Raises:
            UserError: If the name is taken, or vLLM cannot serve the adapter.
        """
        if not self.max_rank:
            raise UserError(f"adapter {name}: the engine was started without LoRA (lora=true)")
        if name in self._folders:
            raise UserError(f"the engine has an adapter {name} already; unload it first")
        refuse_absent(name, folder)
        base = StoredWeights(self.settings.model)
        rank = vllm_rules.check_adapter(self.judged(read_files(folder)), base)
        if rank > self.max_rank:
            raise UserError(
                f"adapter {name}: its rank must be at most {self.max_rank}, the engine's "
                f"max_lora_rank, got {rank}"
            )
        return self.add(name, folder)

    def add(self, name: str, folder: Path) -> float:
        """Load an adapter that has been judged; see :meth:`load_adapter`."""
        files = stamp_of(name, folder)
        started = perf_counter()
        self._load(name, folder)
        self.load_s[name] = perf_counter() - started
        self._know(name, folder, files)
        return self.load_s[name]

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; UserError if it is unknown."""
        if name not in self._folders:
            raise UserError(f"the engine has no adapter {name}")
        self._unload(name)
        del self._folders[name], self._stamps[name]

    def check(self, requests: Sequence[Request], *, max_tokens: int) -> None:
        """Refuse what would end the engine, or what it would answer wrongly.

        Raises:
            UserError: If an adapter is unknown or has changed, a prompt is too long, a request asks
                for an intervention, or rows of the base model would get an adapter.
        """
        check_requests(
            requests,
            self.settings,
            self._folders,
            vocabulary=self._vocabulary,
            max_tokens=max_tokens,
        )
        for request in requests:
            if request.interventions:
                raise UserError(
                    f"request {request.id} has an intervention, which vLLM cannot make; engine=hf"
                )
        asked = {request.adapter for request in requests}
        for name in asked - {None}:
            assert name is not None
            folder = self._folders[name]
            if stamp_of(name, folder) != self._stamps[name]:
                raise UserError(f"adapter {name}: {folder} has changed since it was loaded")
        on_cpu = self.settings.accelerator == "cpu"
        if on_cpu and self._every_slot_used and None in asked and len(asked) > 1:
            raise UserError(
                "max_loras must leave a slot that no adapter has used where the base model answers "
                "beside adapters: on a CPU its rows would get an adapter; got "
                f"{vllm_rules.lora_slots(self.settings)}"
            )

    def _know(self, name: str, folder: Path, stamp: object) -> None:
        """An adapter is loaded, of files as they were."""
        self._folders[name], self._stamps[name] = folder, stamp
        self._held += 1
        self._every_slot_used |= self._held >= vllm_rules.lora_slots(self.settings)

    def _load(self, name: str, folder: Path) -> None:
        """Have vLLM load an adapter."""
        raise NotImplementedError

    def _unload(self, name: str) -> None:
        """Have vLLM forget an adapter that it knows."""
        raise NotImplementedError
