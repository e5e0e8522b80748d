"""The process that measures a cell: engines reseed, pin and print, so they have one of their own.

``python -m loradrift.serving.worker <cell>`` reads the cell's plan and writes its files. What it
has to say goes to ``messages.jsonl``; its last message is ``{"done": true}`` or says why not.
"""

import sys
import traceback
from pathlib import Path

from loradrift.config import UserError
from loradrift.error_messages import one_line
from loradrift.serving.messages import Messages


def main(folder: Path) -> int:
    """Measure a cell; gives the exit code."""
    messages = Messages(folder)
    try:
        from loradrift.serving.measure import measure

        measure(folder, messages)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        kind = "memory" if full else "user" if isinstance(error, UserError) else "fault"
        line = f"out of memory: {error}".split("\n")[0] if full else one_line(error)
        messages.send(failed=line, kind=kind)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
