"""The losses against formulas that share no code; LoRA's gradient through the soft prompt."""

import pytest
import torch
from reconstruction_cases import SHOTS, built, moved, some_batch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from loradrift.config import FullFinetuneConfig, HeadOnlyConfig
from loradrift.models import trainable_parameters
from loradrift.models.soft_prompt.model import answer_tokens
from loradrift.tasks.reconstruction.losses import (
    distillation_losses,
    reconstruction_loss,
)
from loradrift.tasks.reconstruction.teacher import Teacher, load_teacher

ALL = {
    "reconstruction_weight": 0.7,
    "first_token_weight": 0.2,
    "k_token_weight": 0.3,
    "kd_weight": 0.4,
    "ce_tokens": 3,
}


def with_teacher(task, monkeypatch=None):
    """The task with its teacher, as its training begins."""
    weights = task.config.ce_tokens, 8, "32-true"
    task.teacher = load_teacher(task.backbone, task.data, *weights)
    return task


def test_reconstruction_is_cosine_and_error_in_units_of_the_target():
    draw = torch.Generator().manual_seed(0)
    soft, target = torch.randn(2, 3, 4, 5, generator=draw)
    terms = []
    for s, t in zip(soft.flatten(0, 1), target.flatten(0, 1), strict=True):
        terms.append(1 - float(s @ t) / float((s @ s) ** 0.5 * (t @ t) ** 0.5))
    error = ((soft - target) ** 2).sum() / (target**2).sum()
    expected = sum(terms) / len(terms) + 0.1 * float(error)
    assert float(reconstruction_loss(soft, target)) == pytest.approx(expected, rel=1e-5)
    scaled = reconstruction_loss(40 * soft, 40 * target)
    torch.testing.assert_close(scaled, reconstruction_loss(soft, target))
    assert float(reconstruction_loss(target, target)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kept", [4, 11])
def test_distillation_is_the_divergence_of_kept_tokens_and_the_rest(kept):
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 11, generator=draw)
    p, q = teacher.softmax(1), student.softmax(1)
    top = p.log().topk(kept)
    found = distillation_losses(student, top.indices, top.values)
    for row in range(6):
        ids = top.indices[row].tolist()
        pairs = [(p[row, i], q[row, i]) for i in ids]
        rest = [i for i in range(11) if i not in ids]
        if rest:
            pairs.append((p[row, rest].sum(), q[row, rest].sum()))
        expected = sum(a * (a / b).log() for a, b in pairs)
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shots", ["", SHOTS])
def test_every_loss_is_that_of_rows_read_one_by_one(model, tmp_path, shots):
    task = moved(with_teacher(built(model, tmp_path, shots=shots, **ALL)))
    batch = some_batch(task)
    found = task.losses(batch)
    first, tokens, divergences = [], [], []
    soft = task.soft_model.soft_prompt(batch).soft_BMD
    lm = task.backbone.causal_lm
    embed = lm.get_input_embeddings()
    for row, index in enumerate(batch["index"].tolist()):
        ids = torch.tensor(task.data.train.row(index)).long()
        start, end, answer = (
            int(batch[key][row]) for key in ("context_start", "context_end", "answer_start")
        )
        whole = torch.cat([embed(ids[:start]), soft[row], embed(ids[end:])])[None]
        logs = lm(inputs_embeds=whole).logits[0].log_softmax(-1)
        size = len(ids) - answer
        places = range(len(whole[0]) - size, len(whole[0]))
        losses = [-logs[p - 1, ids[answer + i]] for i, p in enumerate(places)]
        first.append(losses[0])
        tokens += losses[:3]
        with lm_off(task):
            taught = lm(input_ids=ids[None]).logits[0].log_softmax(-1)
        for i, place in enumerate(places):
            if i < 3:
                p = taught[answer + i - 1].exp()
                keep = p.topk(256).indices
                rest = torch.ones_like(p).bool()
                rest[keep] = False
                q = logs[place - 1].exp()
                kl = (p[keep] * (p[keep] / q[keep]).log()).sum()
                divergences.append(kl + p[rest].sum() * (p[rest].sum() / q[rest].sum()).log())
    torch.testing.assert_close(found["first_token"], torch.stack(first).mean())
    torch.testing.assert_close(found["k_token"], torch.stack(tokens).mean())
    torch.testing.assert_close(found["kd"], torch.stack(divergences).mean(), rtol=1e-3, atol=1e-5)
    weights = task.config.weights
    expected = sum(weights[name] * value for name, value in found.items())
    torch.testing.assert_close(task.loss(batch), expected)


def lm_off(task):
    """The language model without its adapter."""
    return task.backbone.lm.disable_adapter()


@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_all_losses_come_from_one_pass(model, tmp_path, tokens):
    task = with_teacher(built(model, tmp_path, **(ALL | {"ce_tokens": tokens})))
    passes = []
    task.backbone.decoder.register_forward_hook(lambda *_: passes.append(1))
    task.losses(some_batch(task))
    assert len(passes) == 1


def test_examples_are_read_once_for_all_rows_with_the_same_gradient(model, tmp_path):
    task = moved(built(model, tmp_path, shots=SHOTS, k_token_weight=1.0))
    batch = some_batch(task)
    sizes = []
    task.backbone.decoder.register_forward_hook(
        lambda _module, _args, options, _out: sizes.append(options["inputs_embeds"].shape[:2]),
        with_kwargs=True,
    )
    named = [*trainable_parameters(task.model).values()]
    once = torch.autograd.grad(task.loss(batch), named)
    prefix = int(batch["context_start"][0])
    assert prefix > 16 and sizes[0] == (1, prefix) and sizes[1][0] == 8 and len(sizes) == 2
    task.train()  # with checkpoints there is no cache: each row is read whole
    task.backbone.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    each = torch.autograd.grad(task.loss(batch), named)
    assert len(sizes) > 2 and sizes[2][0] == 8 and sizes[2][1] > prefix
    for one, other in zip(once, each, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_teacher_is_asked_once_and_reads_the_full_text(model, tmp_path):
    task = built(model, tmp_path, **ALL)
    passes = []
    task.backbone.decoder.register_forward_hook(lambda *_: passes.append(1))
    first = load_teacher(task.backbone, task.data, 3, 8, "32-true")
    asked = len(passes)
    assert asked == 5
    again = load_teacher(task.backbone, task.data, 3, 16, "32-true")
    assert len(passes) == asked
    assert torch.equal(first.logs_RKS, again.logs_RKS)
    load_teacher(task.backbone, task.data, 2, 8, "32-true")
    assert len(passes) > asked
    index = 7
    ids = torch.tensor(task.data.train.row(index)).long()
    answer = int(task.data.train.answer_start[index])
    logs = task.backbone.causal_lm(input_ids=ids[None]).logits[0, answer - 1].log_softmax(-1)
    torch.testing.assert_close(first.logs_RKS[index, 0], logs.topk(256).values)
    assert isinstance(first, Teacher) and first.ids_RKS.shape == (40, 3, 256)


def test_a_damaged_cache_of_the_teacher_is_made_again(model, tmp_path):
    task = built(model, tmp_path, **ALL)
    first = load_teacher(task.backbone, task.data, 3, 8, "32-true").logs_RKS.clone()
    [path] = (tmp_path / "teachers").glob("*.safetensors")
    path.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="is damaged"):
        again = load_teacher(task.backbone, task.data, 3, 8, "32-true")
    assert torch.equal(first, again.logs_RKS)


def test_lora_gets_its_gradient_from_the_answer_through_the_soft_prompt(model, tmp_path):
    task = with_teacher(moved(built(model, tmp_path, **ALL)))
    norms = task._gradients(task.losses(some_batch(task)))
    for loss in ("first_token", "k_token", "kd"):
        assert norms[f"{loss}/lora"] > 1e-6 and norms[f"{loss}/head"] > 1e-6
    assert norms["reconstruction/lora"] == 0
    assert norms["reconstruction/head"] > 1e-6
    total = task.loss(some_batch(task))
    named = trainable_parameters(task.model)
    grads = torch.autograd.grad(total, [*named.values()])
    by_hand = sum(
        float(grad.square().sum())
        for name, grad in zip(named, grads, strict=True)
        if "lora_" in name
    )
    assert sum(norms[f"{loss}/lora"] for loss in norms_of(norms)) >= by_hand**0.5


def norms_of(norms):
    """The losses that were measured."""
    return sorted({key.partition("/")[0] for key in norms})


def norm_in_float64(self, x):
    """Llama's own rounds to float32, so that a small step would drown."""
    return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)


def test_the_gradient_is_the_slope(model, tmp_path, monkeypatch):
    """In float64, of weights of LoRA and of the adapter, with latents that are quantised."""
    monkeypatch.setattr(LlamaRMSNorm, "forward", norm_in_float64)
    changes = {"reconstruction_weight": 0.0, "k_token_weight": 1.0, "encoder": "pca"}
    task = moved(built(model, tmp_path, **changes)).double()
    batch = some_batch(task)
    chosen = {
        name: parameter
        for name, parameter in trainable_parameters(task.model).items()
        if "lora_" in name or name in ("head.adapter.skip.weight", "head.adapter.gain")
    }
    grads = torch.autograd.grad(task.loss(batch), [*chosen.values()])
    draw = torch.Generator().manual_seed(0)
    for (name, parameter), grad in zip(chosen.items(), grads, strict=True):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        direction = direction / direction.norm()
        slope, size, losses = float((grad * direction).sum()), 1e-5, []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.add_(sign * size * direction)
                losses.append(float(task.loss(batch)))
                parameter.sub_(sign * size * direction)
        measured = (losses[0] - losses[1]) / (2 * size)
        assert measured == pytest.approx(slope, rel=1e-4, abs=1e-8), name
    lora = [float(grad.norm()) for name, grad in zip(chosen, grads, strict=True) if "lora_" in name]
    assert len(lora) == 28 and min(lora) > 1e-8


@pytest.mark.parametrize(
    ("method", "groups"),
    [
        (HeadOnlyConfig(name="head_only"), {"head"}),
        (FullFinetuneConfig(name="full_finetune"), {"head", "backbone"}),
    ],
)
def test_what_does_not_train_has_no_norm(model, tmp_path, method, groups):
    task = built(model, tmp_path, method=method)
    norms = task._gradients(task.losses(some_batch(task)))
    assert {key.partition("/")[2] for key in norms} == groups


@pytest.mark.parametrize("most", [1, 2, 8, None])
def test_an_answers_first_tokens_are_its_own(model, tmp_path, most):
    task = built(model, tmp_path)
    batch = some_batch(task)
    tokens = answer_tokens(batch, most)
    found = [[] for _ in range(8)]
    for token, row, step in zip(*(each.tolist() for each in tokens), strict=True):
        assert step == len(found[row])
        found[row].append(token)
    whole = [task.data.train.row(i)[batch["answer_start"][i] :].tolist() for i in range(8)]
    assert found == [answer[:most] for answer in whole]
    assert max(map(len, whole)) > 2
    sums = tokens.row_sums(torch.ones(len(tokens.ids_N)))
    assert sums.tolist() == [len(answer) for answer in found]
