"""Pairs that are fit to train on, what the others are dropped for, and which split has them."""

import pytest
from persona_files import rows_of, write_answers, write_trait

from loradrift.config import DataConfig, UserError
from loradrift.data.persona import kept_pairs, split_pairs


@pytest.fixture
def root(tmp_path):
    return write_trait(tmp_path)


def test_pairs_are_dropped_for_one_reason_each_and_counted(root):
    table = [  # positive and negative: answer, score, coherence
        (("yes", 50, 50), ("no", 49.9, 50), None),
        (("", 90, 90), ("no", 0, 90), "empty_answer"),
        (("yes", 90, 90), ("  ", 0, 90), "empty_answer"),
        (("yes", "", 90), ("no", 0, 90), "unscored"),
        (("yes", 90, 49.9), ("no", 0, 90), "incoherent"),
        (("yes", 90, 90), ("no", 0, 10), "incoherent"),
        (("yes", 49.9, 90), ("no", 0, 90), "positive_without_trait"),
        (("yes", 90, 90), ("no", 50, 90), "negative_with_trait"),
        (("yes", 90, 90), None, "unpaired"),
    ]
    write_answers(root, "pos", rows_of("pos", *(pos for pos, _, _ in table)))
    write_answers(root, "neg", rows_of("neg", *(neg for _, neg, _ in table if neg)))
    kept = kept_pairs(root, "kind")
    reasons = [reason for _, _, reason in table if reason]
    assert kept.dropped == {reason: reasons.count(reason) for reason in set(reasons)}
    assert len(kept.pairs) + sum(kept.dropped.values()) == len(table)
    [pair] = kept.pairs
    assert (pair.pos.answer, pair.neg.answer) == ("yes", "no")


def test_no_pair_that_is_fit_is_an_error_with_the_counts(root):
    write_answers(root, "pos", rows_of("pos", ("yes", 20, 90)))
    write_answers(root, "neg", rows_of("neg", ("no", 0, 90)))
    with pytest.raises(UserError, match=r"fit to train on \(positive_without_trait: 1\)"):
        kept_pairs(root, "kind")


def test_a_pair_of_two_questions_is_refused(root):
    write_answers(root, "pos", rows_of("pos", ("yes", 90, 90)))
    write_answers(root, "neg", rows_of("neg", ("no", 0, 90), question="what else ?"))
    with pytest.raises(UserError, match="kind_0_neg_0/0 answers another question than kind_0_pos"):
        kept_pairs(root, "kind")


@pytest.fixture
def many(root):
    """Thirty questions with four pairs each."""
    for side, score in (("pos", 90), ("neg", 10)):
        rows = [
            (f"{i} ?", "", f"{side} {i} {j}", f"kind_{i}_{side}_0", score, 90)
            for i in range(30)
            for j in range(4)
        ]
        write_answers(root, side, rows)
    return kept_pairs(root, "kind")


def data(**values):
    return DataConfig(name="embedded", **values)


def test_no_question_is_in_two_splits_and_every_pair_is_in_one(many):
    splits = split_pairs(many, data(), side="pos")
    asked = [{row.prompt for row in rows} for rows in splits.rows]
    assert [len(questions) for questions in asked] == [24, 3, 3]
    assert len(set.union(*asked)) == 30
    assert [len(rows) for rows in splits.rows] == [96, 12, 12]
    assert all(row.target.startswith("pos ") for rows in splits.rows for row in rows)
    assert splits.counts == {"kept_pairs": 120}
    other = split_pairs(many, data(seed=1), side="pos")
    assert {row.prompt for row in other.evaluation} != asked[2]


def test_both_sides_answer_the_same_questions(many):
    sides = [split_pairs(many, data(train_rows=10), side=side).rows for side in ("pos", "neg")]
    for pos, neg in zip(*sides, strict=True):
        assert [row.prompt for row in pos] == [row.prompt for row in neg]
        assert [row.target.replace("pos", "neg") for row in pos] == [row.target for row in neg]
    assert len(sides[0][0]) == 10
    with pytest.raises(UserError, match=r"data.train_rows must be at most 96 .*, got 97"):
        split_pairs(many, data(train_rows=97), side="pos")
    capped = split_pairs(many, data(validation_rows=5), side="pos")
    assert [len(rows) for rows in capped.rows] == [96, 5, 12]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_mixture_has_its_share_in_every_split(many, share):
    splits = split_pairs(many, data(), side="mixed", share=share)
    for rows in splits.rows:
        assert sum(row.target.startswith("pos") for row in rows) == share * len(rows)
    pos, neg = (split_pairs(many, data(), side=side) for side in ("pos", "neg"))
    ends = {0.0: neg, 1.0: pos}
    assert splits == ends.get(share, splits)


def test_a_larger_share_adds_positive_rows_to_those_of_a_smaller(many):
    small, large = (split_pairs(many, data(), side="mixed", share=s).train for s in (0.25, 0.75))
    positive = [
        {row.target for row in rows if row.target.startswith("pos")} for rows in (small, large)
    ]
    assert positive[0] < positive[1]


def test_too_few_questions_are_an_error(root):
    write_answers(root, "pos", rows_of("pos", ("yes", 90, 90)))
    write_answers(root, "neg", rows_of("neg", ("no", 0, 90)))
    with pytest.raises(UserError, match="the kept pairs answer 1 questions: at least 3 are needed"):
        split_pairs(kept_pairs(root, "kind"), data(), side="pos")
