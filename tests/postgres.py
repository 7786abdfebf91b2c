"""A PostgreSQL of the tests' own: a cluster in a temporary folder, reached by a socket, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


def binaries() -> Path | None:
    """Return the folder of initdb and pg_ctl, None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def cluster() -> Iterator[str]:
    """Run a cluster and give the URL of its databases; skip the test where there is no PostgreSQL."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    owner = _owner()
    try:
        if owner:
            shutil.chown(folder, owner)
        made = ("-D", folder / "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "-N")
        _run(owner, programs / "initdb", *made)
        options = f"-k {folder} -c listen_addresses='' -c max_connections=50"
        start = ("-D", folder / "data", "-o", options, "-w", "-t", "120", "-l", folder / "log")
        _run(owner, programs / "pg_ctl", *start, "start")
        try:
            yield f"postgresql://tests@/{{database}}?host={folder}"
        finally:
            _run(owner, programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str) -> str:
    """Make a database and return its URL."""
    with psycopg.connect(server.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return server.format(database=name)


def _owner() -> str | None:
    """Return who runs it: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(owner: str | None, *command: object) -> None:
    words = [str(each) for each in command]
    subprocess.run(words, user=owner, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=240)
