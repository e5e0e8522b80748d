"""The ladder: each rung against another way to read the same thing, what is cached, the flags."""

import pandas as pd
import pytest
import torch
from reconstruction_cases import SHOTS, built, moved, some_batch

from loradrift.data import EvaluationBatches
from loradrift.data.batches import ALONE
from loradrift.tasks.reconstruction.evaluation import Reader, answer_rows
from loradrift.tasks.reconstruction.ladder import (
    BASE_RUNGS,
    base_rungs,
    example_rows,
    ladder_facts,
    ladder_frame,
    own_rungs,
)
from loradrift.tasks.reconstruction.ladder.of_base import pca_inverse
from loradrift.tasks.reconstruction.ladder.of_run import drawn_latents, other_rows
from loradrift.tasks.reconstruction.ladder.rungs import first_bytes, first_tokens, means, replay

PRINTS = {"evaluation_rows": "e" * 64}


def climbed(task, **options):
    task.data.fingerprints.update(PRINTS)
    options = {"batch_size": 5, "precision": "32-true"} | options
    return base_rungs(task.answerer, task.soft_model.head.sizes, task.data, **options)


@pytest.mark.parametrize("shots", ["", SHOTS])
def test_a_replay_of_the_embeddings_is_the_full_text(model, tmp_path, shots):
    """One is read as token ids by Transformers, the other as vectors by this project."""
    found = climbed(built(model, tmp_path, shots=shots))
    assert {*found} == {*BASE_RUNGS} and all(len(rows) == 12 for rows in found.values())
    for text, vectors in zip(found["full_text"], found["embedding_replay"], strict=True):
        assert (text.row, text.answer, text.f1) == (vectors.row, vectors.answer, vectors.f1)
        assert text.gold_loss == pytest.approx(vectors.gold_loss, rel=1e-4)
    other = [row.gold_loss for row in found["no_context"]]
    assert max(abs(a.gold_loss - b) for a, b in zip(found["full_text"], other, strict=True)) > 1e-3


@torch.no_grad()
def test_full_text_is_each_row_alone(model, tmp_path):
    task = built(model, tmp_path)
    found = climbed(task)["full_text"]
    lm, eos = task.backbone.causal_lm, task.data.tokenizer.eos_token_id
    for row in found:
        ids = torch.tensor(task.data.evaluation.row(row.row)).long()
        start = int(task.data.evaluation.answer_start[row.row])
        golds = ids[start:-1] if int(ids[-1]) == eos else ids[start:]
        logs = lm(input_ids=ids[None]).logits[0].log_softmax(-1)
        losses = [-float(logs[start + k - 1, token]) for k, token in enumerate(golds)]
        assert row.gold_loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
        assert row.num_bytes == len(task.data.evaluation.rows[row.row].context.encode())


def test_what_is_cut_is_cut_where_it_says(model, tmp_path):
    task = built(model, tmp_path)
    table = task.data.evaluation
    batch = some_batch(task, range(12), "evaluation")
    embeds = task.backbone.embed(batch["input_ids"])
    for rung, budget in ((first_tokens(table, 4), None), (first_bytes(table, 13.0), 13)):
        given = rung(batch, embeds)
        for k, size in enumerate(given.sizes_B.tolist()):
            text = table.rows[k].context.encode()
            tokens = int(batch["context_end"][k] - batch["context_start"][k])
            ends = table.byte_ends(k).tolist()
            expected = min(4, tokens) if budget is None else sum(e <= budget for e in ends)
            assert size == expected
            assert given.num_bytes[k] == (ends[size - 1] if size else 0) <= len(text)
            start = int(batch["context_start"][k])
            own = embeds[k, start : start + size]
            torch.testing.assert_close(given.context_BCD[k, :size], own, rtol=0, atol=0)
    nothing = first_bytes(table, 1.0)(batch, embeds)
    assert nothing.sizes_B.tolist() == [0] * 12 == nothing.num_bytes


def test_one_chunk_is_the_mean_and_as_many_as_tokens_are_the_replay(model, tmp_path):
    task = built(model, tmp_path)
    batch = some_batch(task, [3], "evaluation")
    embeds = task.backbone.embed(batch["input_ids"])
    start, end = (int(batch[f"context_{side}"][0]) for side in ("start", "end"))
    one = means(1)(batch, embeds)
    torch.testing.assert_close(one.context_BCD[0, 0], embeds[0, start:end].mean(0))
    assert one.num_bytes == [embeds.shape[2] * 4.0]
    every = means(end - start)(batch, embeds)
    torch.testing.assert_close(every.context_BCD, replay(batch, embeds).context_BCD)


def test_pca_and_back_with_all_components_is_the_means_but_for_one_scale(model, tmp_path):
    task = built(model, tmp_path, d_z=32, latent_bits=32)
    batch = some_batch(task, range(6), "evaluation")
    embeds = task.backbone.embed(batch["input_ids"])
    back = pca_inverse(task.answerer, task.soft_model.head.sizes, task.data)(batch, embeds)
    plain = means(4)(batch, embeds)
    ratio = back.context_BCD / plain.context_BCD
    assert ratio.std() < 0.02 * ratio.mean()
    assert back.num_bytes == [4 * 32 * 4.0] * 6
    coarse = built(model, tmp_path, d_z=2, latent_bits=4)
    given = pca_inverse(coarse.answerer, coarse.soft_model.head.sizes, coarse.data)
    assert given(batch, embeds).num_bytes == [4 * 2 * 4 / 8] * 6


def test_rungs_are_computed_once_for_all_that_decides_them(model, tmp_path, monkeypatch):
    task = built(model, tmp_path)
    first = climbed(task)
    made = []
    climb = "loradrift.tasks.reconstruction.ladder.of_base._climb"

    def count(answerer, table, data, rung, batch_size):
        made.append(rung)
        return first["full_text"]

    monkeypatch.setattr(climb, count)
    again = climbed(task)
    assert again == first and not made
    more = built(model, tmp_path, num_latents=5)
    more.data.fingerprints.update(PRINTS)
    climbed(more)
    assert len(made) == 4  # truncated twice, means, PCA; the text stays what it is
    task.data.fingerprints["base_model"] = "other"
    climbed(task)
    assert len(made) == 4 + 7
    climbed(task, precision="bf16-mixed")
    assert len(made) == 4 + 7 + 7


def test_a_damaged_rung_is_made_again(model, tmp_path):
    task = built(model, tmp_path)
    first = climbed(task)
    for path in (tmp_path / "rungs").glob("*.parquet"):
        path.write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="is damaged"):
        assert climbed(task) == first


def test_a_run_without_components_has_no_pca_rung(model, tmp_path):
    found = climbed(built(model, tmp_path, encoder="mean_pool", d_z=None))
    assert {*found} == {*BASE_RUNGS} - {"pca_inverse"}


def test_own_rungs_are_the_runs_answers_and_those_with_other_latents(model, tmp_path):
    task = moved(built(model, tmp_path))
    batches = EvaluationBatches(task.data.evaluation, task.data.collate, batch_size=5)
    reader = Reader(task.soft_model, task.answerer)
    answers = answer_rows(reader, batches, None, ALONE)
    found = own_rungs(reader, batches, answers, ALONE)
    assert list(found) == ["soft_prompt", "random", "swapped"]
    table = task.data.evaluation
    partners = other_rows([row.context for row in table.rows], 0)
    batch = task.data.collate(table, range(12))
    soft = task.soft_model.soft_prompt(batch).soft_BMD
    sizes = torch.full((12,), 4)
    given = task.answerer.answer_with(soft[torch.tensor(partners)], sizes, batch)
    for row in found["swapped"]:
        assert table.rows[partners[row.row]].context != table.rows[row.row].context
        assert row.answer == given.texts[row.row]
        assert row.gold_loss == pytest.approx(float(given.gold_loss_B[row.row]), rel=1e-4)
    own = task.answerer.answer_with(soft, sizes, batch)
    for row in found["soft_prompt"]:
        assert row.answer == own.texts[row.row]
        assert row.num_bytes == 4 * 6 * 8 / 8 and row.positions == 4


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2, 1), (4, 4), (5, 2, 2, 1), (1,) * 9])
@pytest.mark.parametrize("seed", range(4))
def test_every_row_gets_another_context_and_no_row_is_given_twice(sizes, seed):
    contexts = [str(k) for k, size in enumerate(sizes) for _ in range(size)]
    others = other_rows(contexts, seed)
    assert sorted(others) == list(range(len(contexts)))
    assert all(contexts[i] != contexts[j] for i, j in enumerate(others))


def test_too_many_rows_of_one_context_cannot_be_swapped():
    assert other_rows(["a"], 0) is None and other_rows(["a", "a", "a", "b", "c"], 0) is None


def test_drawn_latents_have_the_mean_and_spread_of_the_rows():
    z = torch.randn(4000, 2, 3, generator=torch.Generator().manual_seed(5))
    z = z * torch.tensor([0.1, 1.0, 5.0]) + torch.tensor([0.0, 3.0, -2.0])
    drawn = drawn_latents(z, 0)
    assert torch.allclose(drawn.mean(0), z.mean(0), atol=0.4)
    assert torch.allclose(drawn.std(0), z.std(0), rtol=0.1)
    assert torch.equal(drawn, drawn_latents(z, 0)) and not torch.equal(drawn, drawn_latents(z, 1))
    cosine = torch.nn.functional.cosine_similarity(
        (drawn - drawn.mean(0)).flatten(), (z - z.mean(0)).flatten(), 0
    )
    assert abs(float(cosine)) < 0.05


def frame(**means):
    """A ladder of 60 rows with these means of F1 and gold loss."""
    generator = torch.Generator().manual_seed(0)
    luck = torch.randn(60, generator=generator)
    parts = []
    for rung, (f1, loss) in means.items():
        noise = 0.2 * torch.randn(60, generator=generator)
        parts.append(pd.DataFrame({
            "rung": rung, "id": range(60), "context": [i // 2 for i in range(60)], "positions": 9,
            "bytes": {"full_text": 800.0}.get(rung, 100.0), "answer": "", "em": 0.0,
            "f1": f1 + 10 * (luck + noise).numpy(), "gold_loss": loss - (luck + noise).numpy(),
        }))  # fmt: skip
    return pd.concat(parts)


def test_flags_say_what_the_rungs_show():
    good = {"full_text": (60, 2), "soft_prompt": (40, 3), "swapped": (20, 5), "no_context": (9, 5)}
    facts = ladder_facts(frame(**good))
    assert facts["latent_ignored"] is False and facts["below_no_context"] is False
    assert facts["compression"] == 8 and facts["bits_per_token"] == pytest.approx(800 / 9)
    assert facts["soft_prompt_less"]["swapped"]["f1"]["estimate"] == pytest.approx(20, abs=2)
    ignored = ladder_facts(frame(**good | {"swapped": (40, 3)}))
    assert ignored["latent_ignored"] is True
    # one of both is enough to see that latents are read
    assert ladder_facts(frame(**good | {"swapped": (40, 4)}))["latent_ignored"] is False
    assert ladder_facts(frame(**good | {"no_context": (41, 5)}))["below_no_context"] is True
    assert ladder_facts(frame(**good | {"no_context": (9, 2.9)}))["below_no_context"] is True
    few = ladder_facts(frame(soft_prompt=(40, 3)))
    assert few["latent_ignored"] is None and few["below_no_context"] is None


def test_the_files_hold_every_row_of_every_rung(model, tmp_path):
    task = built(model, tmp_path)
    found = climbed(task)
    table = task.data.evaluation
    ladder = ladder_frame(table, found | {"swapped": found["no_context"]})
    assert list(ladder.columns) == [
        "rung", "id", "context", "positions", "bytes", "answer", "f1", "em", "gold_loss"
    ]  # fmt: skip
    assert (ladder.groupby("rung").size() == 12).all()
    assert list(dict.fromkeys(ladder["rung"]))[-1] == "no_context"
    own = ladder[ladder["rung"] == "full_text"].set_index("id")
    assert own["context"].nunique() == 6  # each context twice
    [first, *rest] = example_rows(table)
    assert first["context"] == table.rows[0].context and len(rest) == 11
    assert first["gold"] == list(table.rows[0].answers)
