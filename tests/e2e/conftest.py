"""The fixtures of the end-to-end tests."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import Machine
from tests.support.exchangers import Exchangers
from tests.support.lint import faults
from tests.support.smtp_server import ScriptedServer


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A private machine with the installed commands: an empty spool, no relay configured."""
    return Machine(tmp_path)


@pytest.fixture
def smtp_server(smtp_server: Callable[..., ScriptedServer]) -> Iterator[Callable[..., ScriptedServer]]:
    """Scripted servers, and at the end a look at all mail that they took: it is lawful, whatever the test was about."""
    servers: list[ScriptedServer] = []

    def start(**settings: Any) -> ScriptedServer:
        servers.append(smtp_server(**settings))
        return servers[-1]

    yield start
    look_at_all(servers)


@pytest.fixture
def exchangers(exchangers: Exchangers) -> Iterator[Exchangers]:
    """Mail exchangers, and the same look."""
    yield exchangers
    look_at_all(exchangers.servers)


def look_at_all(servers: Iterable[ScriptedServer]) -> None:
    for server in servers:
        for transaction in server.accepted:
            assert faults(transaction) == [], transaction.content[:2000]  # E-002
