"""The name of a special token in a text is text, whatever the tokenizer is made of."""

from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from loradrift.config import UserError
from loradrift.data import Collator, Row, Splits, tokenize, tokenize_documents
from loradrift.data.squad_v2.encoding import WindowSizes
from loradrift.data.squad_v2.format import Answer, Question
from loradrift.data.squad_v2.windows import make_windows
from loradrift.data.tokens import encode_texts, name_special_tokens, tokenization_fingerprint

LETTERS = "it said yes < s > [ SEP ] < / | _ e n d o f t x >"
TEXTS = ["the film was great", "a terrible film , no", LETTERS] * 5


def gpt2():
    """Byte-level; one token begins, ends and stands for the unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return tokenizer, trainer, ends


def llama():
    """SentencePiece's BPE: a space becomes a letter of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    return tokenizer, trainer, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def bert():
    """WordPiece, in lower case, with BERT's names for the ends."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=names, show_progress=False)
    return tokenizer, trainer, {"unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}


def words():
    """Whole words: the model itself knows the special ones."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(special_tokens=["</s>", "<s>"], show_progress=False)
    return tokenizer, trainer, {"unk_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"}


@pytest.fixture(params=[gpt2, llama, bert, words], ids=lambda make: make.__name__)
def tokenizer(request):
    model, trainer, ends = request.param()
    model.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, **ends)


def names(tokenizer):
    return [tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token]


def test_offsets_are_of_the_text_itself(tokenizer):
    text = " ".join(["the", *names(tokenizer), "film was great"])
    encoded = encode_texts(tokenizer, [text], return_offsets_mapping=True)
    spans = encoded["offset_mapping"][0]
    assert "".join(text[a:b] for a, b in spans).replace(" ", "") == text.replace(" ", "")
    by_piece = all(len(tokenizer.tokenize(name)) == 1 for name in names(tokenizer))
    assert by_piece  # as tokens they are one each; as text they are several, but for whole words
    if isinstance(tokenizer.backend_tokenizer.model, models.WordLevel):
        return
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert not ends & set(encoded["input_ids"][0])


def test_a_row_of_nothing_else_is_pooled_and_only_the_layout_is_not(tokenizer, tmp_path):
    texts = [*names(tokenizer), "the film was great"]
    rows = [Row(f"r/{i}", text, text, 0) for i, text in enumerate(texts)]
    table = tokenize(rows, tokenizer, 40, tmp_path)
    batch = Collator(0)(table, range(len(rows)))
    flags = (batch["attention_mask"] & ~batch["content_mask"]).int()
    assert flags[:, 0].all() and flags.sum(1).tolist() == [2] * len(rows)  # bos, and between
    assert batch["content_mask"].sum(1).min() >= 2
    documents = tokenize_documents(rows, tokenizer, 7, tmp_path)
    for i in range(len(documents)):
        begins, whole = "/" not in documents.ids[i][2:], documents.is_text(i)
        assert whole[0] != begins and whole[1:-1].all()


def test_an_answer_is_found_beside_the_names_of_special_tokens(tokenizer, tmp_path):
    context = f"the film {tokenizer.eos_token} was great {tokenizer.bos_token} no"
    answer = Answer("was great", context.index("was great"))
    asked = Question("q", f"it was {tokenizer.eos_token}", context, (answer,), (), "")
    table = make_windows([asked], tokenizer, WindowSizes(60, 4, 20), tmp_path)
    assert table.lossy == ()
    assert table.text(0, int(table.starts[0]), int(table.ends[0])) == "was great"
    places = np.flatnonzero(~table.is_text(0))
    assert places.tolist() == [0, table.context_at[0] - 1]


def test_the_fingerprint_is_marked_only_where_the_tokens_differ(tokenizer):
    from loradrift.training.prepared_data import how_tokenized

    before = tokenization_fingerprint(tokenizer, 32)
    plain = [Row("0", "the film", None, 0)]
    named = [Row("1", f"the {tokenizer.bos_token} film", None, 0)]
    assert not name_special_tokens(tokenizer, plain)
    assert how_tokenized(before, tokenizer, Splits(plain, plain, [])) == before
    assert how_tokenized(before, tokenizer, Splits(plain, [], named)) != before


def test_a_row_without_any_token_of_its_own_is_named(tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"row r/7 has no token of its own text \(\) within"):
        tokenize([Row("r/7", "", None, 0)], tokenizer, 8, tmp_path)
    with pytest.raises(UserError, match=r"row r/7 .*\(the film\) within task.max_length=2"):
        tokenize([Row("r/7", "the film", "it", 0)], tokenizer, 2, tmp_path)


def test_a_table_says_what_is_text_when_it_is_read_again(tokenizer, tmp_path):
    rows = [Row("0", f"{tokenizer.eos_token} film", "no", 0)]
    made, read = (tokenize(rows, tokenizer, 16, tmp_path) for _ in range(2))
    assert made.is_text(0).tolist() == read.is_text(0).tolist()
    assert replace(made, text_flags=1 - made.text_flags).is_text(0).sum() == 2
