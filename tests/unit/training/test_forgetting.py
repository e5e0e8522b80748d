"""The loss on neutral text against a loop over single tokens; measuring leaves no trace."""

import json
import shutil

import pytest
import torch
from probing import state_of
from transformers import AutoTokenizer

from loradrift.training import run
from loradrift.training.build import build_task
from loradrift.training.prepared_data import prepare, retention_table
from loradrift.training.worker import Worker

DOCUMENTS = ["the film was great " * 40, "no", "the film was terrible yes no", "yes the film"] * 6


@pytest.fixture
def prepared(load, model_folder, cache, tmp_path):
    """A small real model on neutral text of several batches, trained by any method."""

    def build(*overrides, model=model_folder):
        root = tmp_path / "data"
        if not root.exists():
            (root / "corpus").mkdir(parents=True)
            (root / "SST-2").mkdir()
            (root / "corpus" / "valid.txt").write_text("\n".join(DOCUMENTS))
            rows = "".join(f"the film number {i} was great\t{i % 2}\n" for i in range(40))
            for split in ("train", "dev"):
                (root / "SST-2" / f"{split}.tsv").write_text("sentence\tlabel\n" + rows)
        config = load(
            "data=local", f"data.root={root}", "model=local", f"model.path={model}",
            "task.max_length=32", f"cache={cache}", *overrides,
        )  # fmt: skip
        inputs = prepare(config, pretrain=run)
        return Worker(config, None, inputs, 0.0), build_task(config, inputs, 10).task

    return build


def rows_of(folder, length, num_tokens):
    """Token ids of the documents, ``bos text eos``, cut to rows and to so many tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, left = [], num_tokens
    for text in DOCUMENTS:
        content = tokenizer.encode(text, add_special_tokens=False)
        ids = [tokenizer.bos_token_id, *content, tokenizer.eos_token_id]
        for start in range(0, len(ids), length):
            rows.append(ids[start : start + length][:left])
            left -= len(rows[-1])
    return [row for row in rows if len(row) > 1]


@torch.no_grad()
def loop(lm, rows, ahead=1):
    """Mean over all rows of minus the log-probability of the token ``ahead`` of each token."""
    terms = []
    for row in rows:
        probabilities = lm(input_ids=torch.tensor([row])).logits[0].double().softmax(-1)
        terms += [-float(probabilities[i, row[i + ahead]].log()) for i in range(len(row) - ahead)]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("num_tokens", [8192, 300])
def test_it_is_the_loss_of_the_definition(prepared, model_folder, num_tokens):
    worker, task = prepared(f"callbacks.forgetting.tokens={num_tokens}")
    rows, text = rows_of(model_folder, 64, num_tokens), worker.data.retention  # of 64 positions
    assert [text.row(i).tolist() for i in range(len(text))] == rows
    figures = worker.forgetting("before", task)
    assert list(figures) == ["forgetting/loss_before"]
    lm = task.backbone.causal_lm.eval()
    assert figures["forgetting/loss_before"] == pytest.approx(loop(lm, rows), rel=1e-5)
    for wrong in (0, 2):
        assert abs(loop(lm, rows, ahead=wrong) - loop(lm, rows)) > 1e-3


def variant_of(folder, target, **changes):
    """A copy of a model folder with another architecture."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_rows_have_at_most_128_tokens_where_the_model_takes_more(prepared, model_folder, tmp_path):
    longer = variant_of(model_folder, tmp_path / "longer", max_position_embeddings=512)
    assert prepared(model=longer)[0].data.retention.lengths.max() == 128


def test_a_frozen_head_of_its_own_predicts(prepared, model_folder, tmp_path):
    untied = variant_of(model_folder, tmp_path / "untied", tie_word_embeddings=False)
    worker, task = prepared("model.weights=random", "method=full_finetune", model=untied)
    head = task.backbone.causal_lm.lm_head
    assert not head.weight.requires_grad
    with torch.no_grad():
        head.weight.mul_(3)  # a loss through the input embeddings would not notice
    figures = worker.forgetting("after", task)
    expected = loop(task.backbone.causal_lm.eval(), rows_of(untied, 64, 8192))
    assert figures["forgetting/loss_after"] == pytest.approx(expected, rel=1e-5)


def test_measuring_leaves_modes_gradients_and_the_generator_alone(prepared):
    worker, task = prepared("method.dropout=0.5")
    backbone = task.backbone
    backbone.blocks[1].eval()
    before, weights = state_of(backbone), [p.detach().clone() for p in backbone.parameters()]
    first, second = (worker.forgetting("before", task) for _ in range(2))
    assert first == second  # no dropout
    assert state_of(backbone) == before
    assert all(map(torch.equal, weights, backbone.parameters()))
    assert not any(p.is_inference() for p in backbone.parameters())


@pytest.mark.parametrize(
    "overrides",
    [("callbacks.forgetting.enabled=false",), ("method=majority",), ("task=pretrain",)],
)
def test_what_does_not_want_it_or_does_not_train_reads_no_text(load, tmp_path, overrides):
    config = load(*overrides, f"cache={tmp_path}")
    assert retention_table(config, config.model, None) is None
    assert not list(tmp_path.iterdir())
