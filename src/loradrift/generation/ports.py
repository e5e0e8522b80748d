"""Ports of this machine: which is free, and who listens on one that is not."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from loradrift.config import UserError

HOST = "127.0.0.1"
"""A server listens to this machine's processes only."""


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def refuse_used(port: int) -> None:
    """Raise a UserError if a server cannot listen on a port; vLLM would tell after 20 s."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UserError(f"serving.server.port={port} needs more rights than yours") from None
        except OSError:
            owner = listener(port)
            by = f" by process {owner}" if owner else ""
            raise UserError(f"serving.server.port={port} is in use{by}") from None


def listener(port: int) -> str | None:
    """Who listens on a port: process id and command, where ``/proc`` tells this user."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{words[9]}]")
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(entry) in sockets:
                process = entry.parents[1]
                return f"{process.name} ({(process / 'comm').read_text().strip()})"
    return None
