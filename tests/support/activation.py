"""What a socket unit does: sockets that are open before anybody serves them, and a process that the first caller starts."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def activated(sockets: list[str], command: list[str], environment: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """All sockets listen; the first connection to one of them makes the process that is given become `command`."""
    listen = [f"--listen={each}" for each in sockets]
    passed = [f"--setenv={name}={value}" for name, value in environment.items()]
    process = subprocess.Popen(["systemd-socket-activate", *listen, *passed, *command], stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        for _ in sockets:
            assert process.stderr.readline().startswith(b"Listening on ")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
