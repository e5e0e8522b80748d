"""Runs of task=reconstruction on disk with known F1, gold losses and drift."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from planted import PASSING, base, probe

from loradrift.activations import ActivationStore, Pooling
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.runs import Cell, RunRecord, Status, write_diagnostics

PRINTS = {
    "evaluation_rows": "e", "train_rows": "t", "tokenization": "k", "metric": "text_f1",
    "base_model": "b", "probe": "p",
}  # fmt: skip

TASK = {
    "name": "reconstruction", "metric": "text_f1", "encoder": "queries", "num_latents": 16,
    "d_z": 16, "latent_bits": 8, "adapt": "decoder", "reconstruction_weight": 1.0,
    "first_token_weight": 0.01, "k_token_weight": 0.0, "kd_weight": 0.0,
}  # fmt: skip

F1 = {
    "full_text": 60.0, "embedding_replay": 60.0, "truncated_tokens": 20.0, "truncated_bytes": 26.0,
    "mean_pooling": 30.0, "pca_inverse": 24.0, "no_context": 10.0,
}  # fmt: skip
LOSS = {
    "full_text": 2.0, "embedding_replay": 2.0, "truncated_tokens": 4.0, "truncated_bytes": 3.8,
    "mean_pooling": 3.5, "pca_inverse": 3.9, "no_context": 5.0,
}  # fmt: skip
TEXT_BYTES, WIDTH = 1200.0, 576

BASELINE_F1, BASELINE_LOSS = 34.0, 3.4


class Planter:
    """Writes runs below a folder.

    Args:
        root: Holds ``runs``.
        num_contexts: Contexts, with three rows each.
        luck: Standard deviation of what all rungs of a row share, in points.
        noise: Of what a rung of a row has alone.
        seed_noise: Of what a run has alone.
    """

    def __init__(
        self, root: Path, *, num_contexts=60, luck=12.0, noise=3.0, seed_noise=0.2
    ) -> None:
        self.root, self.num_contexts = root, num_contexts
        self.noise, self.seed_noise = noise, seed_noise
        rng = np.random.default_rng(7)
        of_context = rng.normal(0, luck, num_contexts)
        luck_N = np.repeat(of_context, 3) + rng.normal(0, luck / 2, 3 * num_contexts)
        self.luck_N = luck_N - luck_N.mean()

    def run(
        self, method="lora", rank=8, alpha=16, layers="all", seed=1, *, gain=0.0, loss_gain=0.0,
        swapped=12.0, study="reconstruction", status=Status.SUCCESS, certificate=PASSING, task=None,
        prints=None, rungs=(), drift=0.05, alarms=0, steps=90, adapt="decoder", lr=1e-3,
        files=True, f1=None, notices=(),
    ) -> Path:  # fmt: skip
        """A finished run whose F1 is the baseline's plus ``gain``."""
        own = TASK | {"adapt": adapt} | (task or {})
        config = {"name": method, "optim": {"lr": lr}}
        variant = []
        if method not in ("head_only", "full_finetune"):
            config |= {"rank": rank, "alpha": float(alpha), "layers": layers}
            variant = [f"method.{k}={config[k]}" for k in ("rank", "alpha", "layers")]
        variant += [f"task.{k}={v}" for k, v in (task or {}).items()]
        variant += [] if adapt == "decoder" else [f"task.adapt={adapt}"]
        variant += [] if lr == 1e-3 else [f"method.optim.lr={lr}"]
        name = ",".join([method, *sorted(variant)])
        folder = self.root / "runs" / study / "reconstruction" / name / f"seed={seed}"
        ladder = self.ladder(own, name, seed, (gain, loss_gain), swapped)
        ladder = ladder[~ladder["rung"].isin(rungs)]
        soft = ladder[ladder["rung"] == "soft_prompt"]
        record = RunRecord(
            coordinates={
                "study": study, "task": "reconstruction", "method": method,
                "variant": ",".join(sorted(variant)), "seed": seed,
            },
            config={
                "task": own, "method": config, "model": {"name": "smollm2"},
                "data": {"name": "local"}, "trainer": {"precision": "32-true", "rounding": 0},
            },
            overrides=[f"method={method}", f"seed={seed}", *variant], status=status, steps=steps,
            fingerprints=PRINTS | (prints or {}), rows={"train": 3000, "evaluation": len(soft)},
            metrics={"evaluation/text_f1": float(soft["f1"].mean()) if f1 is None else f1},
            parameters={"trainable": 1000 * rank, "total": 135_000_000},
            certificate=certificate if "rank" in config else None, device="cpu (1 threads)",
            task={"label": "SQuAD contexts", "higher_is_better": True, "head": True},
            collapse=self.collapse(alarms), notices=list(notices),
        )  # fmt: skip
        Cell(folder, record).save()
        write_diagnostics(folder / "diagnostics.jsonl", self.diagnostics(seed, gain, alarms))
        if files and status is Status.SUCCESS:
            ladder.to_parquet(folder / "ladder.parquet", index=False)
            (folder / "examples.json").write_text(json.dumps(self.examples(soft)))
            self.activations(folder, seed, 0.0 if method == "head_only" else drift)
        return folder

    def ladder(self, task, name, seed, gains, swapped) -> pd.DataFrame:
        """Every rung of every row."""
        gain, loss_gain = gains
        rng = np.random.default_rng([len(name), rank_of(name), seed])
        shift = rng.normal(0, self.seed_noise)
        size = task["num_latents"] * task["d_z"] * task["latent_bits"] / 8
        grow = 3 * np.log2(task["num_latents"] / 16)  # more latents, more of the text
        means = {rung: (F1[rung], LOSS[rung]) for rung in F1}
        own = BASELINE_F1 + gain + shift + grow, BASELINE_LOSS + loss_gain - 0.1 * grow
        means |= {
            "soft_prompt": own, "swapped": (own[0] - swapped, own[1] + swapped / 10),
            "random": (own[0] - swapped, own[1] + swapped / 10),
        }  # fmt: skip
        parts = []
        for place, (rung, (f1, loss)) in enumerate(means.items()):
            fixed = np.random.default_rng([place % 7 if rung != "embedding_replay" else 0, 5])
            draws = fixed if rung in F1 else rng
            apart_N = draws.normal(0, self.noise, len(self.luck_N))
            apart_N -= apart_N.mean() if rung in F1 else 0
            num_bytes = {
                "full_text": TEXT_BYTES, "embedding_replay": TEXT_BYTES / 4 * WIDTH * 4,
                "mean_pooling": task["num_latents"] * WIDTH * 4.0, "no_context": 0.0,
                "truncated_tokens": 4.0 * task["num_latents"], "truncated_bytes": size - 1,
            }.get(rung, size)  # fmt: skip
            grown = grow if rung.startswith("truncated") else 0.0
            frame = pd.DataFrame({"rung": rung, "id": [f"q{i}" for i in range(len(self.luck_N))]})
            parts.append(frame.assign(
                context=[f"c{i // 3}" for i in range(len(frame))], positions=num_bytes / 4,
                bytes=num_bytes, answer=[f"{rung} {i}" if rung != "embedding_replay" else
                                         f"full_text {i}" for i in range(len(frame))],
                f1=f1 + grown + self.luck_N + apart_N, em=0.0,
                gold_loss=loss - 0.01 * (self.luck_N + apart_N),
            ))  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    def diagnostics(self, seed, gain, alarms):
        """Three evaluations; the last ones with an alarm."""
        for place, step in enumerate((30, 60, 90)):
            alarm = place >= 3 - alarms
            yield {
                "seed": seed, "step": step, "text_f1": 10.0 + place * (8 + gain / 3),
                "text_em": 0.0, "loss": 5 - place * 0.7 - gain / 50,
                "train": {"loss": 2 - place * 0.4, "loss_reconstruction": 0.8 - place * 0.2,
                          "loss_first_token": 6.0 - place},
                "collapse": {"unique_share": 0.9 - 0.8 * alarm, "distinct_1": 0.5,
                             "self_bleu": 0.1, "swapped_gap": 0.4 * place, "rms_ratio": 1.1,
                             "lora_gradient": 10.0 ** -(3 + place), "alarm": float(alarm)},
                "collapsed": alarm, "cause": "repetition" if alarm else None,
                "reasons": ["top_token_share 0.9 above 0.667"] if alarm else [],
            }  # fmt: skip

    def collapse(self, alarms):
        """What the record says of them."""
        return {
            "evaluations": 3, "alarms": alarms, "causes": {"repetition": alarms} if alarms else {},
            "first_step": 90 - 30 * (alarms - 1) if alarms else None,
            "cause": "repetition" if alarms else None,
            "reasons": ["top_token_share 0.9 above 0.667"] if alarms else None,
        }  # fmt: skip

    def examples(self, soft):
        """Texts of the first rows."""
        return [
            {"id": id, "context": f"The text of {id}, in full.", "question": f"Which is {id}?",
             "gold": [id, f"the {id}"]} for id in soft["id"][:12]
        ]  # fmt: skip

    def activations(self, folder, seed, size) -> None:
        """Two dumps; the last moved by noise of this size, more in later layers."""
        generator, origin = torch.Generator().manual_seed(seed), base(60)
        with ActivationStore(folder / "activations") as store:
            store.prepare(probe(60), Pooling(), list(origin))
            for step in (0, 90):
                moved = size * step / 90
                store.write(step, {
                    name: x + k * moved * torch.randn(x.shape, generator=generator)
                    for k, (name, x) in enumerate(origin.items(), start=1)
                })  # fmt: skip


def rank_of(name: str) -> int:
    """Something that differs between variants, the same in every process."""
    return sum(map(ord, name)) % 1000


ARMS = {  # rank, alpha, layers -> gain, loss_gain
    (4, 8, 8): (0.0, 0.0), (8, 16, "all"): (6.5, -0.3), (16, 32, "all"): (13.0, -0.5),
}  # fmt: skip


def plant_study(root: Path, seeds=(1, 2, 3), arms=ARMS, **options) -> Planter:
    """The baseline and some arms, with as many seeds."""
    planter = Planter(root, **options)
    for seed in seeds:
        planter.run("head_only", seed=seed)
        for (rank, alpha, layers), (gain, loss_gain) in arms.items():
            planter.run("lora", rank, alpha, layers, seed, gain=gain, loss_gain=loss_gain)
    return planter


def config(root: Path, *figures: str, **keys):
    """The analysis of the runs below this folder."""
    folders = {name: str(root / name) for name in ("runs", "results")}
    return make_config("reconstruction", keys=keys, figures=[*figures], **folders)


def report(root: Path, *figures: str) -> str:
    """The page with these figures."""
    run_analysis(config(root, *figures))
    return (root / "results" / "reconstruction" / "report.html").read_text()


def found(root: Path, **keys):
    """What it finds."""
    from loradrift.analysis.reconstruction.tables import tabulate

    return tabulate(config(root, **keys))


def arm(tables, rank, layers="all"):
    """The row of an arm."""
    return tables["arms"].set_index(["rank", "layers"]).loc[(rank, str(layers))]
