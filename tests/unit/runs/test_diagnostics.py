"""``diagnostics.jsonl`` is read as it was written, and a damaged one is named."""

import json
import math

import pytest

from loradrift.config import UserError
from loradrift.runs import read_diagnostics, write_diagnostics


def test_evaluations_come_back_and_what_is_not_finite_is_null(tmp_path):
    path = tmp_path / "diagnostics.jsonl"
    rows = [{"step": 2, "text_f1": 1.5, "reasons": ["a"]}, {"step": 4, "c": {"x": math.nan}}]
    write_diagnostics(path, rows)
    assert read_diagnostics(path) == [rows[0], {"step": 4, "c": {"x": None}}]
    assert [json.loads(line)["step"] for line in path.open()] == [2, 4]
    write_diagnostics(path, [])
    assert read_diagnostics(path) == read_diagnostics(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("text", ['{"step": 2}\n{"st', "[]\n", '{"seed": 1}\n', "\n"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "diagnostics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"diagnostics.jsonl is damaged \(.*force=true archives"):
        read_diagnostics(tmp_path / "diagnostics.jsonl")
