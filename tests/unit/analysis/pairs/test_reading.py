"""Both formats of labelled pairs, and every way in which a file can be wrong."""

import pytest

from loradrift.analysis.pairs.reading import TextPair, read_pairs
from loradrift.config import UserError

MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def write(folder, text: str, name: str = "pairs.csv", encoding: str = "utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_is_quoted_and_may_hold_lines_commas_and_further_columns(tmp_path):
    text = 'id,label,text1,text2\r\na,1,"one, ""two""","three\r\nfour"\r\n\r\nb,0.5, five ,six\r\n'
    assert read_pairs(write(tmp_path, text, encoding="utf-8-sig")) == [
        TextPair(2, 'one, "two"', "three\r\nfour", 1.0),
        TextPair(5, "five", "six", 0.5),
    ]


@pytest.mark.parametrize("name", ["dev.tsv", "msr_paraphrase_test.txt", "anything.csv"])
def test_mrpc_is_unquoted_with_a_byte_order_mark(tmp_path, name):
    text = f'{MRPC}\r\n1\t7\t8\tHe said "no\tHe said no\r\n\r\n0\t9\t10\tone\ttwo\r\n'
    assert read_pairs(write(tmp_path, text, name, "utf-8-sig")) == [
        TextPair(2, 'He said "no', "He said no", 1.0),
        TextPair(4, "one", "two", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs.csv is empty"),
        ("\n\n", r"pairs.csv is empty"),
        ("text1,text2,label\n", r"pairs.csv holds no pairs"),
        ("text1,text2\na,b\n", r"line 1: no column label in text1, text2; the header must be"),
        ("text1,text2,label\na,b,1\na,b\n", r"line 3: expected 3 cells, got 2"),
        ("text1,text2,label\na,b,1,2\n", r"line 2: expected 3 cells, got 4"),
        ("text1,text2,label\na, ,1\n", r"line 2: a text is empty"),
        ("text1,text2,label\na,b,yes\n", r"line 2: the label must be a number, got yes"),
        ("text1,text2,label\na,b,nan\n", r"line 2: the label must be a number, got nan"),
        ("text1,text2,label\na,b,inf\n", r"line 2: the label must be a number, got inf"),
        ("text1,text2,label\na,b,\n", r"line 2: the label must be a number, got nothing"),
        ('text1,text2,label\na,"b,1\nc,d,1\n', r"line 2: unexpected end of data"),
        ('text1,text2,label\na,b,1\n"a"b,c,1\n', r"line 3: .* expected after"),
        ('text1,text2,label\n"a\nb",c,1\nd,e\n', r"line 4: expected 3 cells, got 2"),
        (f"{MRPC}\n1\t2\t3\ta\n", r"line 2: expected 5 tab-separated cells, got 4"),
        (f"{MRPC}\n2\t2\t3\ta\tb\n", r"line 2: the label must be 0 or 1, got 2"),
        (f"{MRPC}\n1\t2\t3\t\tb\n", r"line 2: a sentence is empty"),
        ("index\t#1 String\n1\ta\n", r"line 1: no column #2 String, Quality"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_pairs(write(tmp_path, text))


def test_no_file_and_no_text_are_named(tmp_path):
    with pytest.raises(UserError, match=r"pairs=.*none.csv is no file"):
        read_pairs(tmp_path / "none.csv")
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"text1,text2,label\na,\xff,1\n")
    with pytest.raises(UserError, match=r"pairs.csv, line 2: not UTF-8"):
        read_pairs(path)
