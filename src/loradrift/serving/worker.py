"""The process that measures a cell: engines reseed, pin and print, so they have one of their own.

``python -m loradrift.serving.worker <cell>`` reads the cell's plan and writes its files. What it
has to say goes to ``messages.jsonl``; its last message is ``{"done": true}`` or says why not.
"""

import sys
from pathlib import Path

from loradrift.serving.messages import Messages


def main(folder: Path) -> int:
    """Measure a cell; gives the exit code."""
    messages = Messages(folder)
    try:
        from loradrift.serving.measure import measure

        measure(folder, messages)
    except Exception as error:
        messages.fail(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
