"""Every classification run says what its backbone forgot, and trains as if nobody had asked."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from loradrift.training import run
from loradrift.training.base_model import resolve_model

BEFORE, AFTER = KEYS = ("forgetting/loss_before", "forgetting/loss_after")


def neutral_rows(cache, folder):
    """The embedded text's first 1,024 tokens; none of its documents is longer than a row."""
    [path] = cache.glob("data/embedded-*-seed=0/corpus/valid.txt")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, left = [], 1024
    for line in path.read_text().splitlines():
        ids = [tokenizer.bos_token_id, *tokenizer.encode(line, add_special_tokens=False)]
        rows.append([*ids, tokenizer.eos_token_id][:left])
        left -= len(rows[-1])
    return [row for row in rows if len(row) > 1]


@torch.no_grad()
def loss(lm, rows):
    """Nats per token: logits at t against token t + 1, a row at a time."""
    total, count = 0.0, 0
    for row in rows:
        logprobs = lm.eval()(input_ids=torch.tensor([row])).logits[0].log_softmax(-1)
        total -= sum(float(logprobs[t, token]) for t, token in enumerate(row[1:]))
        count += len(row) - 1
    return total / count


@pytest.mark.parametrize("method", ["lora", "pissa", "full_finetune"])
def test_the_losses_are_those_of_the_base_model_and_of_what_is_exported(
    compute, configure, cache, method
):
    folder, record = compute(f"method={method}", "scale.adapter_lr=0.05", "task.epochs=null")
    base = resolve_model(configure(), pretrain=run).path
    rows = neutral_rows(cache, base)
    lm = AutoModelForCausalLM.from_pretrained(base)
    assert record.metrics[BEFORE] == pytest.approx(loss(lm, rows), rel=1e-5)
    if method == "full_finetune":
        exported = AutoModelForCausalLM.from_pretrained(folder / "model")
    else:
        exported = PeftModel.from_pretrained(lm, folder / "model")
    assert record.metrics[AFTER] == pytest.approx(loss(exported, rows), rel=1e-5)
    assert abs(record.metrics[AFTER] - record.metrics[BEFORE]) > 1e-4
    assert "neutral_text" in record.fingerprints


def test_without_text_a_run_succeeds_and_does_not_claim_it(compute, tmp_path, capsys):
    (tmp_path / "SST-2").mkdir()
    rows = "".join(f"film number {i} was great\t{i % 2}\n" for i in range(300))
    for split in ("train", "dev"):
        (tmp_path / "SST-2" / f"{split}.tsv").write_text("sentence\tlabel\n" + rows)
    _, record = compute("data=local", f"data.root={tmp_path}")
    assert record.status == "success"
    assert not set(KEYS) & set(record.metrics)
    assert "neutral_text" not in record.fingerprints
    assert "forgetting is not measured: data=local has no neutral text" in capsys.readouterr().out


@pytest.mark.parametrize("typed", [("method=majority",), ("task=pretrain",)])
def test_baselines_and_pretraining_have_none(compute, typed):
    _, record = compute(*typed)
    assert not set(KEYS) & set(record.metrics)
