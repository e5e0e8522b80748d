"""Greedy answers, their masks and caches, the figures, and what a validation hands on."""

import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from reconstruction_cases import SHOTS, built, moved, some_batch

from loradrift.collapse import swapped_gap
from loradrift.data import EvaluationBatches
from loradrift.tasks.reconstruction.answering import Answerer, left_padded, scores, stop_ids
from loradrift.tasks.reconstruction.evaluation import chosen_rows, other_contexts


def soft_answers(task, batch):
    soft = task.soft_model.soft_prompt(batch).soft_BMD
    sizes = torch.full((len(soft),), soft.shape[1])
    return task.answerer.answer_with(soft, sizes, batch)


def prompts(task, batch):
    soft = task.soft_model.soft_prompt(batch).soft_BMD
    joined = task.soft_model.student_embeds(batch, soft)
    return *left_padded(joined), joined.shared


@torch.no_grad()
def recomputed(task, embeds, mask, steps):
    """Greedy tokens without a cache, of one row without padding."""
    lm = task.backbone.causal_lm
    x = embeds[mask][None]
    found = []
    for _ in range(steps):
        token = int(lm(inputs_embeds=x).logits[0, -1].argmax())
        found.append(token)
        x = torch.cat([x, lm.get_input_embeddings()(torch.tensor([[token]]))], dim=1)
    return found


@pytest.mark.parametrize("shots", ["", SHOTS])
def test_greedy_with_a_cache_is_greedy_without(model, tmp_path, shots):
    task = moved(built(model, tmp_path, shots=shots))
    batch = some_batch(task)
    embeds, mask, shared = prompts(task, batch)
    assert (~mask).any() and mask[:, -1].all() and bool(shared) == bool(shots)
    found = task.answerer.generate(embeds, mask, shared)
    stops = stop_ids(task.data.tokenizer)
    lengths = set()
    for row, (ids, ended) in enumerate(zip(found.token_ids, found.ended, strict=True)):
        expected = recomputed(task, embeds[row], mask[row], 9)
        end = next((i for i, token in enumerate(expected) if token in stops), 9)
        assert ids == expected[: min(end, 8)] and ended == (end < 9)
        lengths.add(len(ids))
        first = task.backbone.causal_lm(inputs_embeds=embeds[row][mask[row]][None]).logits[0, -1]
        p = first.softmax(0)
        assert float(found.first_entropy_B[row]) == pytest.approx(float(-(p * p.log()).sum()), 1e-4)


def test_rows_end_at_their_own_last_token(model, tmp_path, monkeypatch):
    """Tokens that the model says anyhow end its answers: some rows early, some not at all."""
    task = moved(built(model, tmp_path))
    batch = some_batch(task, range(20))
    whole = soft_answers(task, batch)
    counts = Counter(token for ids in whole.token_ids for token in ids[2:5])
    stop = counts.most_common(1)[0][0]
    monkeypatch.setattr(
        "loradrift.tasks.reconstruction.answering.stop_ids", lambda tokenizer: (stop,)
    )
    cut = soft_answers(task, batch)
    assert any(cut.ended)
    for long, short, ended in zip(whole.token_ids, cut.token_ids, cut.ended, strict=True):
        assert short == (long[: long.index(stop)] if stop in long else long)
        assert ended or stop not in long


def test_a_row_is_answered_the_same_alone_and_beside_longer_ones(model, tmp_path):
    task = moved(built(model, tmp_path))
    together = soft_answers(task, some_batch(task))
    for row in range(8):
        alone = soft_answers(task, some_batch(task, [row]))
        assert alone.token_ids[0] == together.token_ids[row]
        for name in ("gold_loss_B", "first_entropy_B"):
            one, more = getattr(alone, name)[0], getattr(together, name)[row]
            torch.testing.assert_close(one, more, rtol=1e-4, atol=1e-5)


def test_gold_scores_are_those_of_rows_read_one_by_one_without_their_end(model, tmp_path):
    task = moved(built(model, tmp_path))
    batch = some_batch(task)
    soft = task.soft_model.soft_prompt(batch).soft_BMD
    joined = task.soft_model.student_embeds(batch, soft)
    gold = task.answerer.score_gold(joined, batch)
    answers = soft_answers(task, batch)
    eos = task.data.tokenizer.eos_token_id
    lm = task.backbone.causal_lm
    for row, index in enumerate(batch["index"].tolist()):
        ids = torch.tensor(task.data.train.row(index)).long()
        assert int(ids[-1]) == eos
        size = len(ids) - int(batch["answer_start"][row]) - 1
        length = int(joined.lengths_B[row])
        logs = lm(inputs_embeds=joined.embeds_BLD[row : row + 1, :length]).logits[0].log_softmax(-1)
        places, golds = range(length - size - 1, length - 1), ids[-size - 1 : -1]
        losses = [-float(logs[p - 1, t]) for p, t in zip(places, golds, strict=True)]
        right = [int(logs[p - 1].argmax()) == int(t) for p, t in zip(places, golds, strict=True)]
        assert float(gold.loss_B[row]) == pytest.approx(sum(losses), rel=1e-4)
        assert float(answers.gold_loss_B[row]) == pytest.approx(sum(losses) / size, rel=1e-4)
        assert int(gold.num_tokens_B[row]) == size and int(gold.num_right_B[row]) == sum(right)
        assert bool(gold.first_right_B[row]) == right[0]


def test_nothing_in_the_contexts_place_is_a_text_without_it(model, tmp_path):
    task = moved(built(model, tmp_path))
    batch = some_batch(task)
    nothing = torch.zeros(8, 0, 32)
    found = task.answerer.answer_with(nothing, torch.zeros(8, dtype=torch.long), batch)
    for row, index in enumerate(batch["index"].tolist()):
        ids = torch.tensor(task.data.train.row(index)).long()
        start, end = int(batch["context_start"][row]), int(batch["context_end"][row])
        answer = int(batch["answer_start"][row])
        text = torch.cat([ids[:start], ids[end:answer]])
        embeds = task.backbone.embed(text)[None]
        alone = Answerer(task.backbone, task.data.tokenizer, 8).generate(
            embeds, torch.ones(1, len(text), dtype=torch.bool)
        )
        assert alone.token_ids[0] == found.token_ids[row]


def test_answers_are_scored_as_squad_does():
    golds = [("the Great film",), ("no", "a yes"), ("terrible",)]
    assert scores(golds, ["great film!", "yes", "film"]) == [(100, 100), (100, 100), (0, 0)]
    [(f1, em)] = scores([("great film was",)], ["great film"])
    assert f1 == pytest.approx(80) and em == 0


@pytest.mark.parametrize(("rows", "most"), [(10, 3), (10, 10), (10, 99), (7, 1), (10, None)])
def test_the_rows_that_are_answered_are_spread(rows, most):
    chosen = chosen_rows(rows, most)
    assert len(chosen) == len(set(chosen)) == min(rows, most or rows)
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[-1] < rows


@pytest.mark.parametrize("contexts", ["aabbcc", "aaabbbccd", "abcd", "aabc"])
def test_each_row_gets_another_context_and_none_twice(contexts):
    others = other_contexts(list(contexts))
    assert sorted(others) == list(range(len(contexts)))
    assert all(contexts[i] != contexts[j] for i, j in enumerate(others))


def test_rows_of_one_context_are_no_evidence_that_latents_are_ignored(model, tmp_path):
    task = built(model, tmp_path, generated_rows=7)
    rows = task.data.validation.rows
    rows[:] = [row._replace(context=rows[0].context) for row in rows]
    evaluate(task, "validation")
    said = task.generations
    assert all(math.isnan(loss) for loss in said.swapped_gold_loss_N)
    assert math.isnan(swapped_gap(said.gold_loss_N, said.swapped_gold_loss_N).high)


def evaluate(task, split):
    """What a validation or a test of a split logs, without a trainer of its own."""
    task._trainer = SimpleNamespace(
        precision_plugin=SimpleNamespace(forward_context=torch.no_grad),
        val_dataloaders=None,
        test_dataloaders=None,
        world_size=1,
        global_rank=0,
    )
    batches = EvaluationBatches(task.data.tables[split], task.data.collate, batch_size=5)
    name = "test" if split == "evaluation" else "val"
    setattr(task._trainer, f"{name}_dataloaders", batches)
    with torch.no_grad():
        for batch in batches:
            task.observe(batch)
        return task.figures(split)


def test_figures_are_means_over_rows_and_over_tokens(model, tmp_path):
    task = moved(built(model, tmp_path, generated_rows=7))
    found = evaluate(task, "evaluation")
    table = task.data.evaluation
    lines = list(task.predictions(table))
    assert [line["id"] for line in lines] == list(table.ids)
    assert found["text_f1"] == pytest.approx(sum(line["f1"] for line in lines) / 12)
    assert found["text_em"] == pytest.approx(sum(line["em"] for line in lines) / 12)
    assert all(set(line) == {"id", "question", "gold", "answer", "f1", "em", "gold_loss",
                             "num_tokens", "ended"} for line in lines)  # fmt: skip
    sizes = (table.lengths - table.answer_start - 1).tolist()
    total = sum(line["gold_loss"] * size for line, size in zip(lines, sizes, strict=True))
    assert found["loss"] == pytest.approx(total / sum(sizes), rel=1e-5)
    assert evaluate(task, "evaluation") == found  # nothing is carried over
    assert 0 <= found["teacher_forced_accuracy"] <= 1 and 0 < found["reconstruction_cosine"] <= 1


def test_a_validation_answers_some_rows_and_hands_on_what_it_saw(model, tmp_path):
    task = moved(built(model, tmp_path, generated_rows=7))
    evaluate(task, "validation")
    said = task.generations
    table = task.data.validation
    chosen = chosen_rows(12, 7)
    assert len(said.texts) == len(said.token_ids) == 7
    batch = some_batch(task, chosen, "validation")
    own = soft_answers(task, batch)
    assert said.texts == own.texts and said.token_ids == own.token_ids
    soft = task.soft_model.soft_prompt(batch)
    torch.testing.assert_close(said.latents_NMZ, soft.latents_BMZ.detach())
    assert said.soft_rms == pytest.approx(float(soft.soft_BMD.square().mean().sqrt()), rel=1e-4)
    assert said.embedding_rms == pytest.approx(float(task.soft_model.head.embedding_rms))
    others = other_contexts([table.rows[index].context for index in chosen])
    swapped = task.answerer.answer_with(
        soft.soft_BMD[others], torch.full((7,), 4), batch
    ).gold_loss_B
    torch.testing.assert_close(torch.tensor(said.swapped_gold_loss_N), swapped)
    torch.testing.assert_close(torch.tensor(said.gold_loss_N), own.gold_loss_B)
