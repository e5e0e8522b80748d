"""What goes wrong with an adapter without a word, and which check of the certificate names it.

Faults are planted in copies of a trained LoRA adapter and in models that hold it. Each is loaded
as anybody does (``PeftModel.from_pretrained``), and its outputs are compared with the right ones;
then it is certified. A table, and a figure with ``--figure``::

    python benchmarks/certificate.py --run runs/drift/sst2/lora/seed=42 --base FOLDER
"""

import argparse
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from certificate_faults import FILE_FAULTS, HEALTHY, MODEL_FAULTS, Weights
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from loradrift.adapters import Certificate, Fingerprints, certify
from loradrift.config import ModelConfig
from loradrift.diagnose import diagnose
from loradrift.models import model_fingerprint
from loradrift.report.style import ARM_COLORS, canvas

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Outcome(NamedTuple):
    """What became of one fault."""

    fault: str
    distance: float | None
    """Of the outputs from the right ones, relative to the adapter's effect: 0 is right, 1 as far as
    without the adapter. None where loading is an error."""

    said: str
    """What the certificate says."""

    passed: bool | None


def main() -> None:
    """Plant, load and certify; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, type=Path, help="a finished run with method=lora")
    parser.add_argument("--base", required=True, type=Path, help="the folder of its base model")
    parser.add_argument("--figure", type=Path, help="an SVG file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options.run / "model", options.base, Path(name))
        outcomes = [
            *(bench.of_files(fault, change) for fault, change in FILE_FAULTS.items()),
            *(bench.of_model(fault, change) for fault, change in MODEL_FAULTS.items()),
            bench.merged_already(),
        ]
    print("| fault | outputs off by | certificate |\n|---|---|---|")
    for each in outcomes:
        off = "does not load" if each.distance is None else f"{each.distance:.2g}"
        print(f"| {each.fault} | {off} | {each.said} |")
    silent = [each for each in outcomes if each.distance is not None and each.fault != HEALTHY]
    named = sum(each.passed is False for each in outcomes)
    print(f"\n{len(silent)} of {len(outcomes) - 1} load without an error; {named} are named")
    if options.figure:
        draw(outcomes, options.figure)


class Bench:
    """A base model, an adapter, and the right outputs on a fixed batch."""

    def __init__(self, adapter: Path, base: Path, scratch: Path) -> None:
        self.adapter, self.base, self.scratch = adapter, base, scratch
        draw = torch.Generator().manual_seed(0)
        model = self.load_base()
        self.ids_BT = torch.randint(model.config.vocab_size, (4, 24), generator=draw)
        self.plain = self.outputs(model)
        self.right = self.outputs(PeftModel.from_pretrained(model, str(adapter)))

    def load_base(self, folder: Path | None = None) -> Any:
        """The base model, or another one, in float32."""
        place = folder or self.base
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()

    @torch.inference_mode()
    def outputs(self, model: Any) -> Tensor:
        """The last block's states."""
        states: Tensor = model(self.ids_BT, output_hidden_states=True).hidden_states[-1]
        return states.clone()

    def distance(self, model: Any) -> float:
        """Of a model's outputs from the right ones."""
        off = self.outputs(model) - self.right
        return float(off.norm() / (self.right - self.plain).norm())

    def of_files(self, fault: str, change: Callable[[Weights, dict[str, Any]], None]) -> Outcome:
        """A fault in a copy of the files, as PEFT loads it."""
        folder = self.scratch / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        weights, config = load_file(self.adapter / WEIGHTS), self.config()
        change(weights, config)
        save_file(weights, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config))
        try:
            model = PeftModel.from_pretrained(self.load_base(), str(folder))
        except (RuntimeError, ValueError):
            found = diagnose(str(folder), str(self.base))
            failed = next(each for each in found.tests if each.passed is False)
            return Outcome(fault, None, line(failed.message), found.advice.healthy)
        return self._certified(fault, model, folder, self.base)

    def of_model(self, fault: str, change: Callable[[Any], None]) -> Outcome:
        """A fault in memory, as the certificate of a run sees it."""
        model = PeftModel.from_pretrained(self.load_base(), str(self.adapter))
        change(model)
        return self._certified(fault, model, self.adapter, self.base)

    def merged_already(self) -> Outcome:
        """The adapter on a base that holds it already."""
        folder = self.scratch / "merged"
        merged = PeftModel.from_pretrained(self.load_base(), str(self.adapter)).merge_and_unload()
        merged.save_pretrained(folder)
        model = PeftModel.from_pretrained(self.load_base(folder), str(self.adapter))
        return self._certified("the base holds the adapter already", model, self.adapter, folder)

    def _certified(self, fault: str, model: Any, adapter: Path, base: Path) -> Outcome:
        found: Certificate = certify(
            model,
            {"default": 1.0},
            {"default": adapter},
            lambda: model(self.ids_BT).logits,
            base=base,
            prints=Fingerprints(recorded=self.digest(self.base), loaded=self.digest(base)),
        )
        said = "passes" if found.passed else line(found.verdict)
        return Outcome(fault, self.distance(model), said, found.passed)

    def digest(self, base: Path) -> str:
        """The fingerprint of a base model."""
        model = ModelConfig(name="local", path=str(base))
        return model_fingerprint(model, seed=0, cache=self.scratch)

    def config(self) -> dict[str, Any]:
        """The adapter's settings."""
        settings: dict[str, Any] = json.loads((self.adapter / CONFIG).read_text())
        return settings


def line(message: str) -> str:
    """A message without the paths of this machine, and not too long for a table."""
    words = [Path(word).name if word.startswith("/") else word for word in message.split()]
    text = " ".join(words)
    return text if len(text) <= 100 else f"{text[:97]}…"


def draw(outcomes: list[Outcome], path: Path) -> None:
    """How far each fault's outputs are from the right ones, and what is said of it."""
    shown = outcomes[::-1]
    with canvas(1, height=0.27 * len(shown) + 0.7) as (figure, [axes]):
        for place, each in enumerate(shown):
            color = ARM_COLORS["treatment" if each.passed else "control"]
            known = each.distance is not None and each.distance == each.distance
            if known:
                axes.plot(each.distance, place, "o", color=color)
            elif each.distance is not None:
                axes.text(0, place, "outputs are NaN", va="center", fontsize=7)
            else:
                axes.text(0, place, "PEFT refuses it", va="center", fontsize=7)
            name = "certificate passes" if each.passed else f"named by: {each.said.split(':')[0]}"
            axes.text(1.02, place, name, transform=axes.get_yaxis_transform(), va="center",
                      fontsize=7.5, color=color)  # fmt: skip
        axes.set_yticks(range(len(shown)), [each.fault for each in shown])
        axes.set_xlabel("outputs off by (1: as far as without the adapter)")
        axes.set_xlim(left=-0.05)
        figure.savefig(path)


if __name__ == "__main__":
    main()
