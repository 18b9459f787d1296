"""Users of this machine, made by useradd and taken away again: what a user database knows, and what a home is."""

import fcntl
import os
import pwd
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = f"{tempfile.gettempdir()}/smartrelay-test-users.lock"
"""useradd does not wait for another that runs."""


@contextmanager
def users(home: str, *full_names: str) -> "Iterator[list[pwd.struct_passwd]]":
    """One user for each full name (GECOS), with a home below `home` and a name that no other test has."""
    names = [f"sr{secrets.token_hex(5)}" for _ in full_names]
    try:
        with _alone():
            for name, full_name in zip(names, full_names, strict=True):
                _run("useradd", "--create-home", "--base-dir", home, "--comment", full_name, "--shell", "/bin/sh", name)
            found = [pwd.getpwnam(name) for name in names]
        yield found
    finally:
        with _alone():
            for name in names:
                subprocess.run(["userdel", "--force", name], check=False, capture_output=True)


@contextmanager
def _alone() -> Iterator[None]:
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
