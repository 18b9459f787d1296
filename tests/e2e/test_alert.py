"""The alert command, run by the installed passes: mail cannot tell of its own failure."""

import json
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Machine, relay
from tests.e2e.told import ME, REFUSING, YOU, Told, X
from tests.support.process import is_gone
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

PAGER = """#!/bin/sh
test -e "$0.fails" && exit 7
{ echo "$SMARTRELAY_ALERT $SMARTRELAY_ALERT_STATE $SMARTRELAY_ALERT_RELAY $(id -u) $1"; cat; } >> "$0.told"
"""


class Paged(Told):
    """A machine with an alert command, which writes down what it is told."""

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        os.mkdir(f"{self.folder}/pager", 0o755)
        self.pager = f"{self.folder}/pager/page"
        with open(self.pager, "w", encoding="ascii") as file:
            file.write(PAGER)
        os.chmod(self.pager, 0o755)

    def configure(self, *tables: str, top: str = "") -> None:
        pager = getattr(self, "pager", "")
        super().configure(
            *tables, *([f'[alert]\ncommand = ["{pager}", "two words"]\nafter = "1h"\n'] if pager else []), top=top
        )

    def told(self) -> list[str]:
        """What it was told since the last look: lines."""
        try:
            with open(f"{self.pager}.told", encoding="utf-8") as file:
                found = file.read().splitlines()
            os.unlink(f"{self.pager}.told")
        except FileNotFoundError:
            return []
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Paged:
    return Paged(tmp_path)


def test_stuck_mail_is_told_once_and_once_that_it_is_over(machine: Paged) -> None:
    """Idle passes look too: mail becomes too old between two attempts, and is deleted between them."""
    machine.configure(relay(REFUSING))
    machine.flush()
    one = machine.old(2 * 3600)
    machine.flush()
    first, sentence = machine.told()
    assert first == f"stuck begun  {os.getuid()} two words"
    assert sentence.startswith("client.a.example: 1 message waits, the oldest for 2h, which is longer than 1h")
    for _ in range(2):
        machine.flush()
    machine.flush("--all")
    assert machine.told() == []
    assert machine.run("queue", "delete", "--yes", one).code == 0
    machine.flush()
    first, sentence = machine.told()
    assert first.startswith("stuck over ") and sentence == "client.a.example: no message waits for too long any more"
    machine.flush()
    assert machine.told() == [] and "alerts.json" not in os.listdir(f"{machine.spool}/var")


def test_mail_that_becomes_too_old_between_two_attempts_is_told_by_an_idle_pass(machine: Paged) -> None:
    machine.configure(relay(REFUSING))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert machine.told() == []
    name = os.path.basename(machine.path(machine.ids()[0]))
    older = machine.old(2 * 3600)
    os.rename(f"{machine.spool}/new/{older}", f"{machine.spool}/cur/{older},n={int(time.time()) + 1000}")
    machine.flush()
    assert machine.told()[0].startswith("stuck begun ")
    assert name in os.listdir(f"{machine.spool}/cur") and os.listdir(f"{machine.spool}/state") == [name[:17]]


def test_a_relay_that_does_not_let_us_in_is_told(machine: Paged, smtp_server: Start) -> None:
    server = smtp_server(replies={"MAIL FROM:<me@": b"530 5.7.0 sign in first"})
    machine.configure(relay(f"smtp+notls://127.0.0.1:{server.port}", name='"work"'))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    first, sentence = machine.told()
    assert first.startswith("account begun work ")
    assert sentence.startswith("client.a.example: relay work cannot be used: 530 5.7.0 sign in first")
    machine.flush("--all")
    assert machine.told() == []
    machine.enqueue(X, "-f", "other@a.example", YOU)
    machine.flush()
    assert machine.told()[0].startswith("account over work ")


def test_without_a_relay_stuck_mail_is_told(machine: Paged) -> None:
    machine.configure()
    machine.flush()
    machine.old(2 * 3600)
    machine.flush(code=78)
    assert machine.told()[0].startswith("stuck begun ")
    machine.flush(code=78)
    assert machine.told() == []


def test_a_command_that_fails_never_hinders_a_pass_and_is_run_again(machine: Paged, smtp_server: Start) -> None:
    server = smtp_server()
    machine.configure(relay(REFUSING))
    machine.flush()
    one = machine.old(2 * 3600)
    Path(f"{machine.pager}.fails").touch()
    result = machine.flush()
    assert f"the alert command {machine.pager} failed with exit code 7; it is run again later" in result.errors
    machine.relay_to(server)
    machine.enqueue(X, *ME, YOU)
    assert "exit code 7" not in machine.flush().errors, "it has a minute"
    assert len(server.accepted) == 1
    state = Path(f"{machine.spool}/var/alerts.json")
    state.write_text(state.read_text().replace('"again": ', '"again": 1.0, "x": '))
    os.unlink(f"{machine.pager}.fails")
    machine.flush()
    assert machine.told()[0].startswith("stuck begun ") and machine.ids() == [one]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("loop", [(), ("--every", "1h")], ids=["once", "every"])
def test_one_that_hangs_does_not_hold_up_a_signal(machine: Paged, number: signal.Signals, loop: tuple[str, ...]) -> None:
    """It has half a minute, but not of a signal's; with it ends what it has started, and it is told again."""
    machine.configure(relay(REFUSING))
    machine.flush()
    machine.old(2 * 3600)
    Path(machine.pager).write_text("#!/bin/sh\nsleep 1000 & echo started $! >&2; wait\n")
    with machine.start("flush", *loop) as running:
        running.wait_for_error("started ")
        running.signal(number)
        ended = running.wait(8)
    assert ended.code == -number
    child = int(ended.errors.partition("started ")[2].split()[0])
    assert is_gone(child)
    (alert,) = json.loads(Path(f"{machine.spool}/var/alerts.json").read_text())["alerts"]
    assert (alert["told"], alert["failures"]) == (False, 1)


def test_a_command_that_is_not_there_is_a_warning(machine: Paged) -> None:
    machine.configure(relay(REFUSING))
    machine.flush()
    os.unlink(machine.pager)
    machine.old(2 * 3600)
    result = machine.flush()
    assert f"the alert command {machine.pager} cannot be run: No such file or directory" in result.errors


def test_without_a_status_file_it_is_run_all_the_same(machine: Paged) -> None:
    alert = f'[alert]\ncommand = "{machine.pager} \'two words\'"\nafter = "1h"\n'
    Machine.configure(machine, relay(REFUSING), alert)
    machine.flush()
    machine.old(2 * 3600)
    machine.flush()
    assert machine.told()[0].endswith(" two words")


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        ("", "[alert] command is missing"),
        ("command = 5", "[alert] command must be a command such as"),
        ("command = []", "[alert] command must be a command such as"),
        ('command = ""', "[alert] command must be a command such as"),
        ('command = [""]', "[alert] command must be a command such as"),
        ('command = ["x", 5]', "[alert] command must be a command such as"),
        ('command = ["x\\u0000"]', "[alert] command must be a command such as"),
        ('command = "x \'y"', "[alert] command cannot be split into words (no closing quotation)"),
        ('command = "x"\nafter = "soon"', "[alert] after 'soon' is no span of time"),
        ('command = "x"\nafter = "0s"', "[alert] after must be from 1s to 52w"),
        ('comand = "x"', "[alert] comand is not a known key; did you mean command?"),
    ],
)
def test_a_mistake_in_it_is_named(machine: Paged, alert: str, sentence: str) -> None:
    """And mail is queued all the same."""
    Told.configure(machine, relay(REFUSING), f"[alert]\n{alert}")
    machine.enqueue(X, *ME, YOU)
    assert f"{machine.config}: {sentence}" in machine.flush(code=78).errors


@pytest.fixture
def shared() -> Iterator[Paged]:
    """A machine whose spool belongs to another user than root."""
    folder = tempfile.mkdtemp(prefix="smartrelay-alert-")
    try:
        os.chmod(folder, 0o755)
        machine = Paged(folder)
        for path in (machine.spool, f"{machine.folder}/run"):
            os.mkdir(path, 0o700)
        for path in (machine.spool, f"{machine.folder}/run", f"{machine.folder}/pager"):
            os.chown(path, 65533, 65533)
        yield machine
    finally:
        shutil.rmtree(folder)


@pytest.mark.as_another_user
@pytest.mark.parametrize("idle", [True, False])
def test_the_command_is_run_as_the_spools_owner(shared: Paged, idle: bool) -> None:
    """Root's passes, those too that had nothing else to do."""
    shared.configure(relay(REFUSING))
    shared.flush()
    one = shared.old(2 * 3600)
    path = f"{shared.spool}/cur/{one},n={int(time.time()) + 1000}" if idle else f"{shared.spool}/new/{one}"
    os.rename(f"{shared.spool}/new/{one}", path)
    os.chown(path, 65533, 65533)
    shared.flush()
    assert shared.told()[0] == "stuck begun  65533 two words"
    status = os.stat(f"{shared.spool}/var/alerts.json")
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65533, 0o600)
    os.unlink(path if idle else shared.path(one))
    shared.flush()
    assert shared.told()[0] == "stuck over  65533 two words"
