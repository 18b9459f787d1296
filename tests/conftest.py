"""The fixtures that all tests share; what they hand out is written in `tests/support/`."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.certificates import Certificates, make_certificates
from tests.support.clock import FakeClock
from tests.support.exchangers import Exchangers
from tests.support.exim import EximServer
from tests.support.place import Place
from tests.support.sink import SmtpSink
from tests.support.smtp_server import ScriptedServer

# A run that judges a change must not fail for what another seed would have found before it: the search is for people's runs.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


# In the background (nohup, or `&` in a script) we are told to ignore these, and so would be all that the tests start.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture
def clock() -> FakeClock:
    """Time that moves only by `clock.advance(seconds)`."""
    return FakeClock()


@pytest.fixture
def spool_path(tmp_path: Path) -> str:
    """A private directory for a spool, empty."""
    path = os.path.join(tmp_path, "spool")
    os.mkdir(path, 0o700)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A spool, and passes over it in this process."""
    return Place(str(tmp_path))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private certificate authority, a server's certificate, and the wrong ones."""
    return make_certificates(os.fspath(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def smtp_server() -> Iterator[Callable[..., ScriptedServer]]:
    """Makes scripted servers: `smtp_server(replies={"RCPT": b"450 4.2.0 later"})`; all are closed in the end."""
    with ExitStack() as servers:

        def start(**settings: Any) -> ScriptedServer:
            return servers.enter_context(ScriptedServer(**settings))

        yield start


@pytest.fixture
def exchangers() -> Iterator[Exchangers]:
    """A DNS, and mail exchangers at 127.0.0.x that it knows."""
    with Exchangers() as each:
        yield each


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """Postfix's smtp-sink, running."""
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def exim(certificates: Certificates) -> Iterator[EximServer]:
    """An Exim, running, that wants TLS and its user's password."""
    with EximServer(certificates.server) as server:
        yield server
