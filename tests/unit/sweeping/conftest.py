"""A PostgreSQL server of the test's own."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def postgres(tmp_path):
    """Its URL."""
    folder = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if folder is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL (Debian's postgresql) is not installed")
    pytest.importorskip("psycopg", reason="the extra `cluster` is not installed")
    data = tmp_path / "server"
    data.mkdir()
    as_user = []
    if os.geteuid() == 0:  # the server refuses to run as root
        for each in (tmp_path, data, *tmp_path.parents):
            ours = len(each.parts) > 2 and tmp_path.parts[:3] == each.parts[:3]
            if ours and each.stat().st_uid == 0:
                each.chmod(0o755)
        shutil.chown(data, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def server(program, *typed):
        command = [*as_user, folder / program, "-D", data, *typed]
        subprocess.run(command, check=True, capture_output=True)

    server("initdb", "-U", "me", "-A", "trust")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    server("pg_ctl", "-w", "-o", options, "-l", f"{data}/log", "start")
    try:
        yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    finally:
        server("pg_ctl", "-m", "immediate", "stop")
