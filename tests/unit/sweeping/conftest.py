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
            if (
                each.stat().st_uid == 0
                and tmp_path.parts[:3] == each.parts[:3]
                and len(each.parts) > 2
            ):
                each.chmod(0o755)
        shutil.chown(data, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_as = lambda *command: subprocess.run([*as_user, *command], check=True, capture_output=True)  # noqa: E731
    run_as(str(folder / "initdb"), "-D", str(data), "-U", "me", "-A", "trust")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    run_as(
        str(folder / "pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", f"{data}/log", "start"
    )
    try:
        yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    finally:
        run_as(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
