"""Each validation is judged, written and counted once; watching changes nothing."""

import json

import pytest
import pytorch_lightning as pl
import torch
from answering import healthy, said
from dumping import Crash, Reseed, Task, run_trainer
from torch.utils.data import DataLoader

from loradrift.callbacks.collapse_detector import Collapsed, CollapseDetector
from loradrift.callbacks.resume_point import ResumePoint
from loradrift.collapse import measures, swapped_gap

LOOPS = said([[3] * 16] * 32)
IGNORED = said([[i] for i in range(32)], swapped_gold_loss_N=LOOPS.gold_loss_N)
ALIKE = said([[5, 6, 7]] * 32)
SILENT = said([[5, 6, 7]] * 32, swapped_gold_loss_N=ALIKE.gold_loss_N)
LOUD = said([[i] for i in range(32)], soft_rms=2.0)


class Answering(Task):
    """A task whose validations answer what a test says: by step, else healthily."""

    def __init__(self, answers=None, silent_after=None, method="lora"):
        super().__init__(method)
        self.answers, self.silent_after = answers or {}, silent_after
        self.losses, self.norms = {}, {}  # of training and of LoRA's gradients, by step

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.losses[self.global_step + 1] = float(loss)
        self.log("train/loss", loss)
        return loss

    def on_after_backward(self):
        lora = [p for name, p in self.named_parameters() if ".lora_" in name and p.requires_grad]
        if self.silent_after is not None and self.global_step >= self.silent_after:
            for parameter in lora:
                parameter.grad.zero_()
        if lora:
            flat = torch.cat([parameter.grad.flatten() for parameter in lora])
            self.norms[self.global_step + 1] = float(flat.square().mean().sqrt())

    def val_dataloader(self):
        return DataLoader([0, 1])

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        step = self.global_step
        self.generations = self.answers.get(step, healthy(step))
        self.log("validation/text_f1", 10.0 * step)
        self.log("validation/loss", 1.0 / step)


class Kept(pl.loggers.logger.DummyLogger):
    """What was logged, in order."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def fit(task, tmp_path, *callbacks, logger=None, ckpt_path=None, log_every=1):
    """Six optimizer steps on the same two rows, with a validation after each second."""
    pl.seed_everything(0)
    # the same: Lightning's own loaders begin again in a resumed run
    rows = [{"input_ids": torch.randint(64, (6,)), "label": i} for i in range(2)] * 6
    options = {"num_sanity_val_steps": 0, "log_every_n_steps": log_every, "val_check_interval": 2}
    options |= {"max_epochs": 1, "logger": [logger or Kept()], "ckpt_path": ckpt_path}
    run_trainer(task, DataLoader(rows, batch_size=2), tmp_path, [Reseed(), *callbacks], **options)
    return task


def detector(tmp_path, **changes):
    values = {"seed": 3, "last_step": 0, "grace_steps": 0.0, "stop_on_collapse": False} | changes
    return CollapseDetector(tmp_path / "diagnostics.jsonl", **values)


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "diagnostics.jsonl").open()]


def test_each_evaluation_is_a_line_and_a_row_of_the_loggers(tmp_path):
    logger, watcher = Kept(), detector(tmp_path)
    task = fit(Answering(), tmp_path, watcher, logger=logger)
    rows = lines(tmp_path)
    assert [(row["seed"], row["step"], row["text_f1"], row["loss"]) for row in rows] == [
        (3, 2, 20.0, 0.5), (3, 4, 40.0, 0.25), (3, 6, 60.0, pytest.approx(1 / 6)),
    ]  # fmt: skip
    for row in rows:
        step, found = row["step"], row["collapse"]
        each = healthy(step)
        gap = swapped_gap(each.gold_loss_N, each.swapped_gold_loss_N)
        assert measures(each)._asdict().items() <= found.items()
        ends = (f"swapped_gap{end}" for end in ("", "_low", "_high"))
        assert [found[name] for name in ends] == [*gap[:3]]
        assert found["alarm"] == 0
        assert found["rms_ratio"] == pytest.approx(0.021 / 0.02)
        assert found["lora_gradient"] == pytest.approx(
            max(task.norms[step - 1], task.norms[step]), rel=1e-5
        )
        assert (row["collapsed"], row["cause"], row["reasons"]) == (False, None, [])
        logged = {k: v for at, each in logger.rows if at == step for k, v in each.items()}
        assert {name: logged[f"collapse/{name}"] for name in found} == found
        assert row["train"] == {"loss": pytest.approx(task.losses[step])}
    assert watcher.figures() == {
        "evaluations": 3, "alarms": 0, "causes": {}, "first_step": None, "cause": None,
        "reasons": None,
    }  # fmt: skip


@pytest.mark.parametrize(("answers", "cause"), [
    (LOOPS, "repetition"), (IGNORED, "latent_ignored"), (LOUD, "rms_mismatch"),
])  # fmt: skip
def test_a_planted_collapse_is_told_and_counted_within_one_evaluation(
    tmp_path, capsys, answers, cause
):
    watcher = detector(tmp_path)
    fit(Answering({4: answers, 6: answers}), tmp_path, watcher)
    assert [row["cause"] for row in lines(tmp_path)] == [None, cause, cause]
    assert [row["collapse"]["alarm"] for row in lines(tmp_path)] == [0, 1, 1]
    found = watcher.figures()
    assert (found["alarms"], found["first_step"], found["cause"]) == (2, 4, cause)
    assert found["causes"] == {cause: 2} and found["reasons"] == lines(tmp_path)[1]["reasons"]
    assert capsys.readouterr().out.count(f"collapse at step 4, {cause}: ") == 1


def test_lora_without_gradient_since_the_last_evaluation(tmp_path):
    fit(Answering(silent_after=3), tmp_path, detector(tmp_path))  # the third step still had one
    rows = lines(tmp_path)
    assert [row["cause"] for row in rows] == [None, None, "dead_lora_gradient"]
    assert rows[2]["collapse"]["lora_gradient"] == 0 < rows[2]["collapse"]["head_gradient"]


def test_without_lora_no_gradient_of_it_is_missed(tmp_path):
    fit(Answering(method="head_only"), tmp_path, detector(tmp_path))
    assert not any(row["collapsed"] for row in lines(tmp_path))
    assert "lora_gradient" not in lines(tmp_path)[0]["collapse"]


@pytest.mark.parametrize(("answers", "causes"), [
    (IGNORED, [None, "latent_ignored", "latent_ignored"]), (ALIKE, [None, *["repetition"] * 2]),
    (SILENT, ["repetition"] * 3),
])  # fmt: skip
def test_in_the_grace_equal_answers_and_ignored_latents_are_an_alarm_together(
    tmp_path, answers, causes
):
    fit(Answering(dict.fromkeys((2, 4, 6), answers)), tmp_path, detector(tmp_path, grace_steps=4.0))
    rows = lines(tmp_path)
    assert [row["cause"] for row in rows] == causes
    assert rows[0]["collapse"]["swapped_gap"] == (1 if answers is ALIKE else 0)  # measured anyway


def test_an_alarm_ends_the_run_if_asked_to(tmp_path):
    message = r"^collapsed at step 4, repetition: repeated_ngram_rate 0.933 above 0.5; top_token"
    with pytest.raises(Collapsed, match=message) as ended:
        fit(Answering({4: LOOPS}), tmp_path, detector(tmp_path, stop_on_collapse=True))
    assert ended.value.metrics == {"validation/text_f1": 40.0, "validation/loss": 0.25}
    assert [row["step"] for row in lines(tmp_path)] == [2, 4]


@pytest.mark.parametrize("method", ["lora", "full_finetune"])
def test_training_is_the_same_with_and_without_it(tmp_path, method):
    fits = [fit(Answering(method=method), tmp_path, *w) for w in ([], [detector(tmp_path)])]
    one, two = (task.state_dict() for task in fits)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("crash", [1, 3, 4, 5])
def test_a_resumed_run_writes_the_same_bytes(tmp_path, crash):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    answers = {4: LOOPS}
    reference = detector(whole)
    fit(Answering(answers), whole, reference, ResumePoint(whole / "last.ckpt", 1))
    point = parts / "last.ckpt"
    with pytest.raises(KeyError):
        fit(Answering(answers), parts, detector(parts), ResumePoint(point, 2), Crash(crash))
    done = torch.load(point, weights_only=True)["global_step"] if point.exists() else 0
    assert done == crash // 2 * 2
    watcher = detector(parts, last_step=done)
    assert [row["step"] for row in watcher.rows] == list(range(2, done + 1, 2))
    fit(Answering(answers), parts, watcher, ckpt_path=point if done else None)
    assert (parts / "diagnostics.jsonl").read_bytes() == (whole / "diagnostics.jsonl").read_bytes()
    assert watcher.figures() == reference.figures()


def test_a_resumed_run_knows_what_was_seen_before_its_checkpoint(tmp_path):
    """Gradients since the last evaluation, and what was logged; a later evaluation is forgotten."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(Answering(silent_after=3), whole, detector(whole), log_every=3)
    broken, point = Answering(silent_after=3), parts / "last.ckpt"
    with pytest.raises(KeyError):
        fit(broken, parts, detector(parts), ResumePoint(point, 3), Crash(5), log_every=3)
    assert [row["step"] for row in lines(parts)] == [2, 4]
    watcher = detector(parts, last_step=3)
    assert [row["step"] for row in watcher.rows] == [2] and watcher.figures()["evaluations"] == 1
    fit(Answering(silent_after=3), parts, watcher, ckpt_path=point, log_every=3)
    found = lines(parts)
    assert found == lines(whole)
    # the fourth step had no gradient, and was not logged
    assert found[1]["collapse"]["lora_gradient"] == pytest.approx(broken.norms[3], rel=1e-5)
    assert found[1]["train"] == {"loss": pytest.approx(broken.losses[3])}


def test_a_step_that_is_judged_again_has_one_row(tmp_path):
    watcher, task = detector(tmp_path), Answering()
    trainer = fit(task, tmp_path, watcher).trainer
    task.generations = LOOPS
    watcher.on_validation_end(trainer, task)
    assert [(row["step"], row["cause"]) for row in lines(tmp_path)] == [
        (2, None), (4, None), (6, "repetition"),
    ]  # fmt: skip
    assert watcher.figures()["evaluations"] == 3


def test_a_task_that_answers_nothing_leaves_no_file(tmp_path):
    class Silent(Answering):
        def on_validation_epoch_end(self):
            pass

    watcher = detector(tmp_path)
    fit(Silent(), tmp_path, watcher)
    assert watcher.figures() == {} and not (tmp_path / "diagnostics.jsonl").exists()


def test_numbers_that_are_not_finite_are_null(tmp_path):
    one = said([[1, 2]], gold_loss_N=[1.0], swapped_gold_loss_N=[float("inf")])
    fit(Answering({2: one}), tmp_path, detector(tmp_path))
    found = lines(tmp_path)[0]["collapse"]
    assert found["self_bleu"] is found["swapped_gap"] is found["latent_cosine"] is None
