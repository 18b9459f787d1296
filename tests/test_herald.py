"""A pass that goes on tells that it does: the wiring from the manager to the status file."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartrelay.cli.caller import Common
from smartrelay.cli.passes import Passes
from smartrelay.cli.wish import Wish
from smartrelay.spool import status_file
from smartrelay.spool.queue import Queue
from smartrelay.spool.totals import DONE, RUNNING
from tests.support.queues import new_spool, put
from tests.support.smtp_server import Answer, ScriptedServer, Session


@pytest.fixture
def process() -> Iterator[None]:
    """What a command changes of its process is put back."""
    umask = os.umask(0o077)
    yield
    os.umask(umask)
    gc.unfreeze()


def test_a_pass_tells_that_it_is_running(
    tmp_path: Path, smtp_server: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch, process: None
) -> None:
    """The server answers the final dot when it has read so in the status file: else nobody would know until the end of a pass,
    which can be hours away."""
    spool, path = new_spool(str(tmp_path)), f"{tmp_path}/status.json"
    seen: list[status_file.Status] = []

    def verdict(point: str, argument: bytes, session: Session) -> Answer | None:
        deadline = time.monotonic() + 20
        while point == "DOT" and not seen and time.monotonic() < deadline:
            if os.path.exists(path):
                seen.append(status_file.read(path))
            os.sched_yield()
        return None

    server = smtp_server(on=verdict)
    config = tmp_path / "smartrelay.toml"
    config.write_text(
        f'spool = "{spool}"\nstatus_file = "{path}"\nmin_free_space = 0\n'
        f'[[relay]]\nhosts = ["smtp+notls://127.0.0.1:{server.port}"]\n'
    )
    put(Queue(spool))
    monkeypatch.setattr("smartrelay.relay.bulletin._DISTANCE", 0.0)
    for name in [name for name in os.environ if name.startswith("SMARTRELAY_")]:
        monkeypatch.delenv(name)
    assert Passes(Common(str(config), "", -1), Wish(), wait=0.0, fail_if_busy=True, as_json=False).run() == 0
    assert [(status.result, status.totals.delivered, status.messages.due.number) for status in seen] == [(RUNNING, 0, 1)]
    end = status_file.read(path)
    assert (end.result, end.totals.delivered) == (DONE, 1)
