"""Users of this machine, made by useradd and taken away again: what a user database knows, and what a home is."""

import fcntl
import os
import pwd
import secrets
import subprocess
import sys
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


_OPEN = """\
set -e
mount --bind "$0" "$1"
mount -t tmpfs -o mode=0755 tmpfs "$2"
mkdir -p "$0"
mount --bind "$1" "$0"
shift 2
exec "$@"
"""


def way_to_python(folder: str) -> list[str]:
    """What to put before a command whose user, and all that it starts, must reach this interpreter: nothing, or where it lies
    in a closed directory, a mount namespace in which that is open, and empty but for the interpreter. folder: a new one that is
    needed for it."""
    closed, path = "", sys.base_prefix
    while path != "/":
        closed = closed if os.stat(path).st_mode & 0o001 else path
        path = os.path.dirname(path)
    if not closed:
        return []
    os.mkdir(folder)
    return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _OPEN, sys.base_prefix, folder, closed]


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
