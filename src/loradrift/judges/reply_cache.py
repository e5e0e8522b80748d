"""Replies of an endpoint, kept on disk: nothing is asked, or paid, twice.

One file for each address, model and set of parameters, a line per reply that begins with a digest
of the whole prompt. A line is appended by one write as soon as the reply is there, so a process
that is killed loses no reply that it had; a line that was cut off is passed over.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loradrift.judges.replies import Reply
from loradrift.progress import tell


class ReplyCache:
    """Replies by prompt.

    Args:
        path: The file; it is made with the first reply.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._replies: dict[str, Reply] = {}
        self._read()

    def __getitem__(self, prompt: str) -> Reply:
        """The reply to a prompt; a KeyError if there is none yet."""
        return self._replies[digest(prompt)]

    def __contains__(self, prompt: str) -> bool:
        return digest(prompt) in self._replies

    def __len__(self) -> int:
        return len(self._replies)

    def keep(self, prompt: str, reply: Reply) -> None:
        """Write a reply to disk; several threads may."""
        key = digest(prompt)
        line = json.dumps({"prompt": key, **reply._asdict()}, ensure_ascii=False) + "\n"
        with self._lock:
            self._replies[key] = reply
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
            try:
                os.write(file, line.encode())
            finally:
                os.close(file)

    def _read(self) -> None:
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        damaged = 0
        for line in data.split(b"\n"):
            try:
                if line:
                    self._add(json.loads(line))
            except (ValueError, LookupError, TypeError):
                damaged += 1
        if damaged:
            tell(f"{self.path}: {damaged} damaged replies are asked for again")
        if not data.endswith(b"\n") and data:  # a line was cut off: the next one begins anew
            with self.path.open("ab") as file:
                file.write(b"\n")

    def _add(self, saved: Mapping[str, Any]) -> None:
        alternatives = tuple((str(token), float(p)) for token, p in saved["alternatives"])
        prompt_tokens, tokens = map(int, saved["usage"])
        reply = Reply(
            str(saved["text"]), alternatives, str(saved["after"]), (prompt_tokens, tokens)
        )
        self._replies[str(saved["prompt"])] = reply


def digest(text: str) -> str:
    """A name for a prompt."""
    return hashlib.sha256(text.encode()).hexdigest()
