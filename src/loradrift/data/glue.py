"""SST-2, MRPC and RTE in GLUE's official files (Wang et al. 2019, arXiv:1804.07461)."""

from dataclasses import dataclass
from pathlib import Path

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.base import Row, read_lines


@dataclass(frozen=True, kw_only=True)
class GlueFormat:
    """Where one task's columns are, and what its labels mean."""

    folder: str
    hub_name: str
    text: str
    """Column of the (first) sentence, in the files."""

    pair: str | None = None
    label: str = "label"
    hub_columns: tuple[str, str | None]
    labels: tuple[str, ...] = ("0", "1")
    """How label 0, label 1 and so on are written in the files."""

    question: str
    """The row as a prompt whose next words are one of ``answers`` (``method=zero_shot``)."""

    answers: tuple[str, ...]
    """The words that stand for each label."""

    test_file: str = "test.tsv"
    """Name of the labelled test file, where the official one has another."""


FORMATS = {
    "sst2": GlueFormat(
        folder="SST-2",
        hub_name="sst2",
        text="sentence",
        hub_columns=("sentence", None),
        question="{text} it was",
        answers=(" terrible", " great"),
    ),
    "mrpc": GlueFormat(
        folder="MRPC",
        hub_name="mrpc",
        text="#1 String",
        pair="#2 String",
        label="Quality",
        hub_columns=("sentence1", "sentence2"),
        test_file="msr_paraphrase_test.txt",
        question="{text} {pair} do the two sentences say the same ?",
        answers=(" no", " yes"),
    ),
    "rte": GlueFormat(
        folder="RTE",
        hub_name="rte",
        text="sentence1",
        pair="sentence2",
        hub_columns=("sentence1", "sentence2"),
        labels=("entailment", "not_entailment"),
        question="{text} question : {pair} true or false ?",
        answers=(" true", " false"),
    ),
}


def read_glue(root: Path, form: GlueFormat, task: str, split: str) -> list[Row]:
    """Read ``train``, ``dev`` or ``test`` of a task from its official TSV file.

    The files are unquoted: a quotation mark is a character like any other. ``test`` exists where
    its labels are public: MRPC (Microsoft's own file) and the embedded corpora. ``form.folder`` is
    in ``root`` or in its ``glue``.

    Raises:
        UserError: If the file is missing or malformed; names file and line.
    """
    folder = (root / "glue" if (root / "glue").is_dir() else root) / form.folder
    path = folder / f"{split}.tsv"
    if split == "test" and not path.is_file():
        path = folder / form.test_file
    if not path.is_file():
        raise UserError(f"{path} is missing: data.root must hold GLUE's official files")
    return parse_glue(path, read_lines(path), form, f"{task}/{split}")


def parse_glue(path: Path, lines: list[str], form: GlueFormat, prefix: str) -> list[Row]:
    """Rows of one file; the id is ``prefix`` and the row's number, counted from 0.

    Raises:
        UserError: If it is malformed; names file and line.
    """
    if not any(lines):
        raise UserError(f"{path} is empty")
    header = lines[0].rstrip("\r").split("\t")
    columns = [name for name in (form.text, form.pair, form.label) if name is not None]
    if missing := [name for name in columns if name not in header]:
        there = excerpt(", ".join(header))
        raise UserError(f"{path}, line 1: no column {', '.join(missing)} in {there}")
    places = [header.index(name) for name in columns]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        here, cells = f"{path}, line {number}", line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise UserError(f"{here}: expected {len(header)} tab-separated cells, got {len(cells)}")
        *texts, label = (cells[place].strip() for place in places)
        if label not in form.labels:
            known = " or ".join(form.labels)
            raise UserError(f"{here}: the label must be {known}, got {excerpt(label)}")
        if not all(texts):
            raise UserError(f"{here}: a sentence is empty")
        pair = texts[1] if form.pair else None
        rows.append(Row(f"{prefix}/{number - 2}", texts[0], pair, form.labels.index(label)))
    if not rows:
        raise UserError(f"{path} holds no rows")
    return rows
