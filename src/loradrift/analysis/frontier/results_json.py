"""``frontier.json``: what was found, in numbers for other programs."""

from typing import Any

from loradrift.analysis.frontier.sentences import answer
from loradrift.analysis.frontier.tables import Frontier
from loradrift.analysis.plain_json import plain, rows

UNITS = {
    "score": "the task's metric on the reported rows, of the checkpoint that validation chose",
    "drift": "of a point 1 - CKA, mean over layers; of a comparison or part times the baseline's",
    "forgetting": "of a point nats per token; of a comparison times the baseline's",
    "nats": "forgetting less the baseline's, nats per token",
    "from, to": "scores that both arms reach, means over seeds of their ends",
    "drift_low, drift_high": "95 % over seeds; of a part 98.3 %",
    "norm": "|dW| / |W|, Frobenius, over the linear layers of all blocks",
}


def frontier_json(found: Frontier) -> dict[str, Any]:
    """Everything; what is not defined is null."""
    examples = {task: found.example(task) for task in found.tasks}
    record = examples[found.tasks[0]]
    content: dict[str, Any] = plain(
        {
            "schema": 2,
            "answer": answer(found),
            "study": found.study,
            "model": record.config.get("model", {}).get("name"),
            "base_model": record.fingerprints.get("base_model"),
            "data": record.config.get("data", {}).get("name"),
            "rows": {task: example.rows for task, example in examples.items()},
            "baseline": found.baseline,
            **{name: rows(table) for name, table in found.tables.items() if name != "along"},
            "problems": list(found.problems),
            "units": UNITS,
        }
    )
    return content
