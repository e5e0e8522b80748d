"""Chunks, encoders, grids and the joined rows against formulas that share no code; invariances."""

import numpy as np
import pytest
import torch
from reconstruction_cases import built, prepared, some_batch

from loradrift.config import UserError
from loradrift.data import Collator
from loradrift.models import load_backbone, trainable_parameters
from loradrift.models.soft_prompt import (
    Grid,
    SoftPromptModel,
    SoftPromptSizes,
    chunk_bounds,
    chunk_means,
    embedding_rms,
    fit_head,
    join,
    pack,
    unpack,
)
from loradrift.tasks.reconstruction.fitted_rows import contexts

ENCODERS = [
    {"encoder": "pca"},
    {"encoder": "mean_pool"},
    {"encoder": "mean_pool", "d_z": None},
    {"encoder": "queries"},
]


@pytest.mark.parametrize("size", [1, 2, 5, 16, 17, 40])
def test_chunks_are_equal_cover_all_tokens_and_each_has_one(size):
    begin, behind = (each[0].tolist() for each in chunk_bounds(torch.tensor([size]), 5))
    sizes = [b - a for a, b in zip(begin, behind, strict=True)]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    covered = [i for a, b in zip(begin, behind, strict=True) for i in range(a, b)]
    assert set(covered) == set(range(size))
    if size >= 5:
        assert covered == list(range(size))


def test_means_are_those_of_each_rows_own_tokens():
    draw = torch.Generator().manual_seed(0)
    embeds = torch.randn(3, 12, 4, generator=draw)
    start, end = torch.tensor([1, 3, 0]), torch.tensor([11, 5, 12])
    means = chunk_means(embeds, start, end, 3)
    for row in range(3):
        own = embeds[row, start[row] : end[row]].numpy()
        edges = [len(own) * i // 3 for i in range(4)]
        for m in range(3):
            part = own[edges[m] : max(edges[m] + 1, edges[m + 1])]
            np.testing.assert_allclose(means[row, m], part.mean(0), rtol=1e-5)


@pytest.mark.parametrize("how", ENCODERS, ids=str)
@pytest.mark.parametrize("bits", [32, 8])
def test_padding_changes_no_latent(model, tmp_path, how, bits):
    task = built(model, tmp_path, latent_bits=bits, **how)
    table = task.data.train
    order = np.argsort(table.lengths)
    rows = [int(order[0]), int(order[-1])]
    together = task.soft_model.soft_prompt(some_batch(task, rows))
    longer = Collator(pad_id=7, fixed_length=60)(table, rows)  # a word, where padding stood
    padded = task.soft_model.soft_prompt(longer)
    for place, row in enumerate(rows):
        alone = task.soft_model.soft_prompt(some_batch(task, [row]))
        for other in (together, padded):
            for one, more in zip(alone, other, strict=True):
                torch.testing.assert_close(one[0], more[place], rtol=1e-5, atol=1e-6)


def test_the_prefix_and_the_question_change_no_latent(model, tmp_path):
    task = built(model, tmp_path)
    batch = some_batch(task)
    places = torch.arange(batch["input_ids"].shape[1])
    outside = (places < batch["context_start"][:, None]) | (places >= batch["context_end"][:, None])
    other = batch | {"input_ids": batch["input_ids"].masked_fill(outside, 50)}
    same = task.soft_model.soft_prompt(batch).latents_BMZ
    assert torch.equal(same, task.soft_model.soft_prompt(other).latents_BMZ)
    inside = batch | {"input_ids": batch["input_ids"].masked_fill(~outside, 50)}
    assert not torch.allclose(same, task.soft_model.soft_prompt(inside).latents_BMZ)


@pytest.mark.parametrize("how", ENCODERS, ids=str)
@pytest.mark.parametrize("scale", [1.0, 37.0])
def test_the_soft_prompts_rms_begins_as_the_embeddings(model, tmp_path, how, scale):
    backbone = load_backbone(model, seed=0)
    table = backbone.causal_lm.get_input_embeddings().weight
    with torch.no_grad():
        table.mul_(scale)
    data = prepared(model, tmp_path)
    sizes = SoftPromptSizes(how["encoder"], 4, how.get("d_z", 6), 8)
    soft_model = SoftPromptModel(backbone, sizes, seed=0)
    fit_head(soft_model.head, contexts(soft_model, data.train, data.collate))
    expected = float(table.detach().square().mean().sqrt())
    assert float(embedding_rms(backbone)) == pytest.approx(expected, rel=1e-5)
    for name, tolerance in (("train", 1e-4), ("evaluation", 0.2)):
        split = data.tables[name]
        found = soft_model.soft_prompt(data.collate(split, range(len(split))))
        for vectors in (found.soft_BMD, found.target_BMD):
            rms = float(vectors.square().mean().sqrt())
            assert rms == pytest.approx(expected, rel=tolerance)


def test_pca_is_the_best_linear_map_to_so_few_numbers(model, tmp_path):
    task = built(model, tmp_path, encoder="pca", latent_bits=32)
    batch = some_batch(task, range(40))
    context = task.soft_model.head.context(
        task.backbone.embed(batch["input_ids"]), batch["context_start"], batch["context_end"]
    )
    x = context.means_BMD.flatten(0, 1).numpy().astype(np.float64)
    _, _, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    best = (x - x.mean(0)) @ vt[:6].T @ vt[:6] + x.mean(0)
    head = task.soft_model.head
    skip = head.adapter.skip(head.latents(context)).flatten(0, 1).detach().numpy()
    np.testing.assert_allclose(skip, best, atol=1e-4)


@pytest.mark.parametrize("encoder", ["mean_pool", "queries"])
def test_a_trained_encoder_starts_near_pca(model, tmp_path, encoder):
    cosines = {}
    for name in ("pca", encoder):
        task = built(model, tmp_path, encoder=name)
        found = task.soft_model.soft_prompt(some_batch(task))
        cosine = torch.cosine_similarity(found.soft_BMD, found.target_BMD, dim=-1)
        cosines[name] = float(cosine.mean())
    assert cosines[encoder] > cosines["pca"] - 0.1 > 0.5


@pytest.mark.parametrize("how", ENCODERS, ids=str)
def test_everything_that_trains_is_on_the_way_to_the_soft_prompt(model, tmp_path, how):
    task = built(model, tmp_path, **how)
    soft = task.soft_model.soft_prompt(some_batch(task)).soft_BMD
    draw = torch.Generator().manual_seed(0)
    (soft * torch.randn(soft.shape, generator=draw)).sum().backward()
    for name, parameter in trainable_parameters(task.soft_model.head).items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-9, name
    trained = any(name.startswith("encoder") for name in trainable_parameters(task.soft_model.head))
    assert trained == (how["encoder"] != "pca" and how.get("d_z", 6) is not None)


def test_the_heads_weights_are_the_seeds_and_no_other_draw_is_touched(model):
    backbone = load_backbone(model, seed=0)
    sizes = SoftPromptSizes("queries", 4, 6, 8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (SoftPromptModel(backbone, sizes, seed=seed).head for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.encoder.queries_MW, same.encoder.queries_MW)
    assert not torch.equal(one.encoder.queries_MW, other.encoder.queries_MW)


@pytest.mark.parametrize("how", ENCODERS, ids=str)
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_latents_take_the_claimed_bits(model, tmp_path, how, bits):
    task = built(model, tmp_path, latent_bits=bits, **how)
    head = task.soft_model.head
    latents = task.soft_model.soft_prompt(some_batch(task, range(40))).latents_BMZ
    codes = head.grid.codes(latents)
    for number in latents.flatten(0, 1).T:
        assert len(number.unique()) <= 2**bits
    for row in range(2):
        packed = pack(codes[row], bits)
        assert len(packed) == head.sizes.num_bytes(head.width) == latents[row].numel() * bits / 8
        back = unpack(packed, codes[row].numel(), bits).view(codes[row].shape)
        assert torch.equal(head.grid.values(back), latents[row])
    if bits == 4:  # most of the grid is used
        assert len(codes.unique()) >= 12


def test_the_rounding_is_no_more_than_half_a_step_and_the_gradient_goes_past_it():
    grid = Grid(3, 4)
    z = (2 * torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0)) - 1).requires_grad_()
    values = grid(z)
    assert float((values - z).detach().abs().max()) <= 1 / 15 + 1e-6
    weights = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (values * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    outside = grid(torch.tensor([[[7.0, -7.0, 0.0]]]))
    assert outside.flatten().tolist()[:2] == [1.0, -1.0]
    assert torch.equal(Grid(3, 32)(z), z)


def test_rows_with_their_own_embeddings_are_the_full_text(model, tmp_path):
    task = built(model, tmp_path)
    batch = some_batch(task)
    embeds = task.backbone.embed(batch["input_ids"])
    start, end = batch["context_start"], batch["context_end"]
    width = int((end - start).max())
    index = (start[:, None] + torch.arange(width)).clamp(max=embeds.shape[1] - 1)
    own = embeds.gather(1, index[:, :, None].expand(-1, -1, embeds.shape[2]))
    joined = join(embeds, batch, own, end - start)
    real = batch["attention_mask"]
    assert torch.equal(joined.mask_BL, real)
    assert torch.equal(joined.embeds_BLD[real], embeds[real])
    assert torch.equal(joined.answer_at_B, batch["answer_start"])


@pytest.mark.parametrize("size", [0, 1, 4])
def test_rows_are_prefix_vectors_rest_and_answer(model, tmp_path, size):
    task = built(model, tmp_path)
    batch = some_batch(task)
    embeds = task.backbone.embed(batch["input_ids"])
    vectors = torch.randn(len(embeds), 4, embeds.shape[2])
    joined = join(embeds, batch, vectors, torch.full((len(embeds),), size))
    for row in range(len(embeds)):
        length = int(batch["attention_mask"][row].sum())
        start, end = int(batch["context_start"][row]), int(batch["context_end"][row])
        parts = [embeds[row, :start], vectors[row, :size], embeds[row, end:length]]
        whole = torch.cat(parts)
        assert int(joined.lengths_B[row]) == len(whole)
        assert torch.equal(joined.embeds_BLD[row, : len(whole)], whole)
        at = int(joined.answer_at_B[row])
        answer = int(batch["answer_start"][row])
        assert torch.equal(joined.embeds_BLD[row, at], embeds[row, answer])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_latents": 60}, r"task.num_latents must be at most \d+: the 64 positions of "),
        ({"d_z": 33}, "task.d_z must be at most 32, the width of the embeddings, got 33"),
    ],
)
def test_latents_that_are_too_many_are_refused(model, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        built(model, tmp_path, **changes)


def test_more_numbers_than_rows_are_refused(model, tmp_path, monkeypatch):
    from loradrift.tasks.reconstruction import building

    task = built(model, tmp_path)
    room, tables = building.Room(32, None, "here"), task.data.tables
    building.check_sizes(task.config, room, tables)
    monkeypatch.setattr(type(task.data.train), "__len__", lambda self: 5)
    with pytest.raises(UserError, match="task.d_z must be at most 5, the training rows that"):
        building.check_sizes(task.config, room, tables)
