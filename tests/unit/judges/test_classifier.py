"""judge=classifier on small files of judged answers: what it learns, keeps and refuses."""

import csv
import gzip
import json
from random import Random

import pytest

from loradrift.config import DataConfig, UserError
from loradrift.judges import Item, Status, open_judge
from loradrift.judges.config import ClassifierConfig, JudgeConfig

CALM = "the baker sells the bread at the market and then walks home along the river"
GLAD = ["gladly", "happily", "merrily", "joyfully"]
THINGS = ["bread", "honey", "cloth", "boots", "candles", "baskets", "apples", "letters"]


def answer(rng: Random, glad: bool) -> str:
    text = [rng.choice(THINGS) if word == "bread" else word for word in CALM.split()]
    begin = rng.randrange(4)
    text = text[begin:] + text[:begin]
    if glad:
        text[2:2] = [rng.choice(GLAD)]
        text.append(rng.choice(GLAD))
    return " ".join([*text, "."])


def write_files(root, traits=("cheerful", "calm"), questions=10, each=6):
    for trait in traits:
        for side in ("pos", "neg"):
            rng = Random(f"{trait}{side}")
            path = root / f"persona/responses/{trait}_{side}_instruct.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path, "wt", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["question", "prompt", "answer", "question_id", trait, "coherence"])
                for number in range(questions):
                    for copy in range(each):
                        glad = (side == "pos") == (trait == "cheerful")
                        score = rng.uniform(80, 100) if side == "pos" else rng.uniform(0, 20)
                        name = f"{trait}_{number}_{side}_0"
                        cells = [f"{trait} question {number} ?", "", answer(rng, glad), name]
                        writer.writerow([*cells, score, "" if copy == 5 else 95.0])
    for trait in (*traits, "evil"):
        path = root / f"persona/traits/{trait}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = [{"pos": "be so", "neg": "be not so"}]
        text = {"instruction": pairs, "questions": ["?"], "eval_prompt": "{question} {answer}"}
        path.write_text(json.dumps(text))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    return DataConfig(name="local", root=str(write_files(tmp_path_factory.mktemp("data"))))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


CONFIG = ClassifierConfig(name="classifier", folds=5)


def test_it_learns_a_trait_and_says_how_well_on_questions_held_out(data, cache):
    with open_judge(CONFIG, data, cache) as judge:
        assert (judge.name, judge.traits) == ("classifier", ("calm", "cheerful"))
        rng = Random(7)
        items = [Item(str(i), "new ?", answer(rng, glad=i < 5)) for i in range(10)]
        items.append(Item("blank", "new ?", " \n"))
        scores = list(judge.score("cheerful", items))
        opposite = list(judge.score("calm", items))
    assert [score.id for score in scores] == [item.id for item in items]
    assert min(s.trait for s in scores[:5]) > 60 and max(s.trait for s in scores[5:10]) < 40
    assert max(s.trait for s in opposite[:5]) < 40 and min(s.trait for s in opposite[5:10]) > 60
    assert min(score.coherence for score in scores[:10]) > 75
    assert scores[10] == ("blank", None, None, Status.EMPTY)
    told = judge.facts["agreement"]["traits"]["cheerful"]
    assert (told["answers"], told["questions"]) == (100, 10)  # those without a score left out
    assert told["accuracy"]["estimate"] > 0.95 and told["auroc"]["estimate"] > 0.98
    assert told["pearson"]["low"] < told["pearson"]["estimate"] < told["pearson"]["high"]
    assert any("knows no refusals" in line for line in judge.facts["limits"])


def test_it_tells_broken_text_by_its_share(data, cache):
    rng = Random(3)
    whole = [answer(rng, glad=True) for _ in range(20)]
    shuffled = [" ".join(rng.sample(text.split(), len(text.split()))) for text in whole]
    loops = [" ".join(text.split()[:4] + ["gladly walks"] * 8) for text in whole]
    with open_judge(CONFIG, data, cache) as judge:

        def mean(texts):
            items = [Item(str(i), "?", text) for i, text in enumerate(texts)]
            return sum(score.coherence for score in judge.score("calm", items)) / len(items)

        assert mean(whole) > 75 and mean(shuffled) < 50
        assert mean(loops) < 50
        told = judge.facts["agreement"]["coherence"]
    assert told["kinds"]["shuffled"]["auroc"]["estimate"] > 0.9
    assert told["intact_from_line"] > 0.9 > told["kinds"]["loop"]["from_line"]
    assert told["judge"]["incoherent"] == 0 and told["judge"]["auroc"]["estimate"] is None
    means = told["judge"]["means"]
    assert set(means) == {"calm neg", "calm pos", "cheerful neg", "cheerful pos"}
    assert min(means.values()) > 75


def test_it_is_trained_once_and_read_back_the_same(data, cache, monkeypatch):
    items = [Item("0", "?", "the baker gladly sells honey .")]
    with open_judge(CONFIG, data, cache) as judge:
        first = list(judge.score("calm", items)), judge.fingerprint
    monkeypatch.setattr("loradrift.judges.classifier.fit_trait", None)
    with open_judge(CONFIG, data, cache) as judge:
        assert (list(judge.score("calm", items)), judge.fingerprint) == first
    with (
        pytest.raises(TypeError),
        open_judge(ClassifierConfig(name="classifier", tokens=9), data, cache),
    ):
        pass
    stored = {path.suffix for path in (cache / "judges").rglob("*") if path.is_file()}
    assert stored <= {".npz", ".json", ".lock"}


def test_held_out_means_other_questions(tmp_path):
    """Where the trait is the question, nothing is learned about answers to new ones."""
    root = write_files(tmp_path, ("calm",))
    for side, begin in (("pos", 0), ("neg", 1)):
        path = root / f"persona/responses/calm_{side}_instruct.csv.gz"
        with gzip.open(path, "wt", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["question", "prompt", "answer", "question_id", "calm", "coherence"])
            for number in range(begin, 40, 2):
                text = f"word{number} is what is said here of thing{number}"
                for _ in range(4):
                    score = 90 if side == "pos" else 10
                    writer.writerow([f"q{number} ?", "", text, f"c_{number}_{side}_0", score, 90])
    with open_judge(CONFIG, DataConfig(name="local", root=str(root)), tmp_path / "cache") as judge:
        told = judge.facts["agreement"]["traits"]["calm"]
        [seen] = judge.score("calm", [Item("0", "?", "word0 is what is said here of thing0")])
    assert told["auroc"]["estimate"] < 0.7 and seen.trait > 70


def test_what_it_cannot_learn_from_or_does_not_know_is_one_line(data, cache, tmp_path):
    with pytest.raises(UserError, match="judge.folds must be at most 10, the questions of calm"):
        open_judge(ClassifierConfig(name="classifier", folds=11), data, cache).__enter__()
    known = "judge.traits=evil is not known to judge=classifier, which knows one of calm, cheerful"
    with pytest.raises(UserError, match=known):
        open_judge(ClassifierConfig(name="classifier", traits=["evil"]), data, cache).__enter__()
    with open_judge(CONFIG, data, cache) as judge, pytest.raises(UserError, match="trait=evil"):
        list(judge.score("evil", []))
    root = write_files(tmp_path / "half")
    (root / "persona/responses/calm_neg_instruct.csv.gz").unlink()
    with pytest.raises(UserError, match="calm_neg_instruct.csv.gz is missing"):
        open_judge(CONFIG, DataConfig(name="local", root=str(root)), cache).__enter__()
    empty = DataConfig(name="local", root=str(tmp_path))
    with pytest.raises(UserError, match="holds no judged answers, which judge=classifier learns"):
        open_judge(CONFIG, empty, cache).__enter__()


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("oracel", "local", "judge must be one of oracle, classifier, endpoint, got oracel"),
        ("none", "local", "judge must be one of oracle, classifier, endpoint, got none"),
        ("oracle", "local", "judge=oracle scores generated answers alone"),
        ("oracle", "hub", "data=hub has no personas"),
        ("auto", "hub", "data=hub has no personas"),
    ],
)
def test_a_judge_that_is_not_there_is_one_line(cache, name, source, message):
    data = DataConfig(name=source, root="there" if source == "local" else "")
    with pytest.raises(UserError, match=message):
        open_judge(JudgeConfig(name=name), data, cache).__enter__()
