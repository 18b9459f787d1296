"""Root loads all that a command needs before it becomes the owner of the spool: the interpreter may lie where only root can
read it."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.commands import Machine, relay
from tests.e2e.told import ME, REFUSING, YOU, Told, X
from tests.support.smtp_server import ScriptedServer

pytestmark = pytest.mark.as_another_user

OWNER = 65533
TELLING = """
import os, sys
def tell(event, arguments):
    if event == "import" and os.geteuid():
        os.write(2, f"LATE {arguments[0]}\\n".encode())
sys.addaudithook(tell)
from smartrelay.__main__ import main
main()
"""
ALERT = '[alert]\ncommand = "/bin/true"\nafter = "1h"\n'


@pytest.fixture
def machine() -> Iterator[Told]:
    """A machine whose spool belongs to another user than root."""
    folder = tempfile.mkdtemp(prefix="smartrelay-late-")
    try:
        os.chmod(folder, 0o755)
        machine = Told(folder)
        for path in (machine.spool, f"{machine.folder}/run"):
            os.mkdir(path, 0o700)
            os.chown(path, OWNER, OWNER)
        yield machine
    finally:
        shutil.rmtree(folder)


def late(machine: Machine, *arguments: str, command: str = "flush", code: int = 0) -> list[str]:
    """What root's command loads too late."""
    with machine.start_program(sys.executable, "-c", TELLING, command, *arguments) as running:
        result = running.wait()
    assert result.code == code, result.errors
    return [line for line in result.errors.splitlines() if line.startswith("LATE")]


def test_of_passes_with_work_and_without(machine: Told, smtp_server: Callable[..., ScriptedServer]) -> None:
    server = smtp_server(replies={"RCPT TO:<later@": b"450 4.2.1 later"})
    machine.relay_to(server)
    assert late(machine) == []
    machine.enqueue(X, *ME, YOU, "later@b.example")
    assert late(machine) == [] and len(server.accepted) == 1
    assert late(machine) == [] and late(machine, "--json") == []


def test_of_passes_with_an_incident(machine: Told, smtp_server: Callable[..., ScriptedServer]) -> None:
    machine.relay_to(smtp_server(replies={"MAIL": b"530 5.7.0 sign in first"}))
    machine.enqueue(X, *ME, YOU)
    for _ in range(2):
        assert late(machine) == []
    assert machine.status()["incidents"]["account"]["count"] == 1


def test_of_passes_that_alert(machine: Told) -> None:
    machine.configure(relay(REFUSING), ALERT)
    assert late(machine) == []
    one = machine.old(7200)
    path = f"{machine.spool}/cur/{one},n={int(time.time()) + 1000}"
    os.rename(f"{machine.spool}/new/{one}", path)
    os.chown(path, OWNER, OWNER)
    for _ in range(2):
        assert late(machine) == []
        assert os.path.exists(f"{machine.spool}/var/alerts.json")
    os.unlink(path)
    assert late(machine) == []
    assert not os.path.exists(f"{machine.spool}/var/alerts.json")


def test_of_passes_whose_configuration_cannot_be_used(machine: Told) -> None:
    machine.configure("[queue\n")
    assert late(machine, code=78) == []
    machine.enqueue(X, *ME, YOU)
    assert late(machine, code=78) == []
    machine.configure()
    assert late(machine, code=78) == []


def test_of_what_is_asked_without_a_pass(machine: Told, smtp_server: Callable[..., ScriptedServer]) -> None:
    """The From policy and the aliases of mail that is not there."""
    server = smtp_server()
    machine.relay_to(server, more='[submit]\nfrom = "me@a.example"')
    with open(f"{machine.folder}/aliases", "w", encoding="utf-8") as file:
        file.write('root: "Ada" <ada@b.example>\n')
    machine.enqueue(X, *ME, YOU)
    assert late(machine, "root", command="route") == []
    assert late(machine, command="check", code=1) == []


def test_of_listings(machine: Told) -> None:
    machine.configure()
    machine.enqueue(X, *ME, YOU)
    for words in (["list", "--json"], ["list"], ["list", "--json", "--sort", "age"]):
        assert late(machine, *words, command="queue") == []
    assert late(machine, command="mailq") == []
