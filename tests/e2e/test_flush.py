"""`smartrelay flush`: what it takes along, what it leaves, how it ends, what it says."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.commands import Machine, Running, relay
from tests.support.process import free_port
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"


def arrived(server: ScriptedServer) -> list[str]:
    """The recipients that the server accepted mail for."""
    return sorted(address.decode().strip("<>") for each in server.accepted for address in each.recipients)


@contextmanager
def busy(machine: Machine, server: ScriptedServer) -> Iterator[Running]:
    """A pass that holds the lock, hung in its only message until the gate at DATA is opened."""
    gate = server.gate("DATA")
    machine.relay_to(server)
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        yield running
        gate.open()
        assert running.wait().code == 0


# Nothing to do.


@pytest.mark.parametrize("configured", [True, False], ids=["with a relay", "without"])
def test_a_pass_over_nothing_is_silent(machine: Machine, smtp_server: Start, configured: bool) -> None:  # C-015
    if configured:
        machine.relay_to(smtp_server())
    for _ in range(2):  # the first makes the spool
        result = machine.flush()
        assert (result.output, result.errors) == (b"", "")
    assert os.stat(machine.spool).st_mode & 0o777 == 0o700


def test_what_is_not_due_is_left_alone(machine: Machine, smtp_server: Start) -> None:
    """Deferred mail is not tried before its time, however often a pass runs; then it is."""  # C-002, C-003
    server = smtp_server(replies={"RCPT": b"450 4.2.1 later"})
    machine.relay_to(server)
    one = machine.enqueue(X, *ME, YOU)
    machine.flush()
    before = machine.tree()
    assert machine.flush().errors == ""
    assert machine.flush("-v").said == "smartrelay: nothing is due; 1 messages wait\n"
    assert machine.tree() == before
    assert len(server.sessions) == 1
    server.replies.clear()
    machine.make_due(one)
    machine.flush()
    assert arrived(server) == [YOU]


@pytest.mark.parametrize("end", [",n=99999999999", ",n=", ",n=12x", ",x=1", ""])
def test_a_time_that_cannot_be_is_due_now(machine: Machine, smtp_server: Start, end: str) -> None:
    """A name that says a year from now, or nothing that can be read: a clock or a person was wrong, and the mail goes."""
    machine.relay_to(server := smtp_server())
    one = machine.enqueue(X, *ME, YOU)
    os.rename(f"{machine.spool}/new/{one}", f"{machine.spool}/cur/{one}{end}")
    machine.flush()
    assert arrived(server) == [YOU]
    assert machine.ids() == []


def test_the_steps_between_attempts_are_as_configured(machine: Machine) -> None:
    """`[queue] retry`, the last repeats; up to 10 % are added, not the same to each message."""  # C-004
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}"), '[queue]\nretry = ["10m", "1h"]')
    ids = [machine.enqueue(X, *ME, YOU) for _ in range(8)]
    for step in (600, 3600, 3600):
        start = int(time.time())
        machine.flush()
        end = time.time()
        due = [machine.due(one) for one in ids]
        assert start + step <= min(due)
        assert max(due) <= end + step * 1.1
        assert len(set(due)) > 1
        machine.make_due()


# What it is told to do.


@pytest.fixture(scope="session")
def some_of_each(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """A spool with deferred mail to `later`, held mail to `held`, new mail to `new` and, from another sender, to `other`."""
    machine = Machine(tmp_path_factory.mktemp("each"))
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}"), '[queue]\nretry = ["5h"]')
    ids = {"later": machine.enqueue(X, *ME, "later@b.example")}
    machine.flush()
    ids["held"] = machine.enqueue(X, *ME, "held@b.example")
    assert machine.run("queue", "hold", ids["held"]).code == 0
    ids["new"] = machine.enqueue(X, *ME, "new@b.example")
    ids["other"] = machine.enqueue(X, "-f", "them@a.example", "other@c.example", "x@d.example")
    return machine.spool, ids


@pytest.fixture
def waiting(machine: Machine, smtp_server: Start, some_of_each: tuple[str, dict[str, str]]) -> "Waiting":
    """A machine with some of each, and a server that takes all."""
    spool, ids = some_of_each
    shutil.copytree(spool, machine.spool)
    machine.relay_to(server := smtp_server())
    return server, ids


Waiting = tuple[ScriptedServer, dict[str, str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "new other"),
        (("--all",), "later new other"),
        (("--domain", "B.example."), "later new"),
        (("--domain", "c.example"), "other"),
        (("--domain", "example"), ""),
        (("--sender", "ME@a.example"), "later new"),
        (("--sender", "<them@a.example>"), "other"),
        (("--sender", "them@a.example", "--domain", "b.example"), ""),
        (("later",), "later"),
        (("LATER", "new"), "later new"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_pass_takes_what_it_is_told_and_nothing_else(
    machine: Machine, waiting: Waiting, arguments: tuple[str, ...], expected: str
) -> None:
    """Due mail; or all but held mail; or the mail of a domain, a sender or an id, due or not."""
    server, ids = waiting
    named = [ids[word].lower() if word in ids else ids.get(word.lower(), word) for word in arguments]
    machine.flush(*named)
    gone = expected.split()
    assert {address.split("@")[0] for address in arrived(server)} == {*gone, *(["x"] if "other" in gone else [])}
    assert machine.ids("hold") == [ids["held"]]
    if arguments:
        # what is not meant stays as it was, also in new/
        assert machine.ids("new") == [ids[name] for name in ("new", "other") if name not in gone and arguments != ("--all",)]
    assert machine.ids() == sorted(one for name, one in ids.items() if name not in gone)


def test_an_unknown_id_is_66_and_nothing_is_sent(machine: Machine, waiting: Waiting) -> None:
    server, ids = waiting
    for wrong in ("00000000000000000", "../../etc/passwd", ids["new"][:10]):
        result = machine.flush(ids["new"], wrong, code=66)
        assert result.said.count("\n") == 1
        assert wrong in result.said
    assert server.sessions == []
    assert machine.ids() == sorted(ids.values())


def test_a_held_message_is_not_sent_even_by_its_id(machine: Machine, waiting: Waiting) -> None:
    server, ids = waiting
    result = machine.flush(ids["held"], code=64)
    assert f"smartrelay queue release {ids['held']}" in result.said
    assert server.sessions == []
    assert machine.ids("hold") == [ids["held"]]


@pytest.mark.parametrize("arguments", [(), ("--all",), ("--domain", "c.example")], ids=" ".join)
def test_a_dry_run_says_where_and_touches_nothing(machine: Machine, waiting: Waiting, arguments: tuple[str, ...]) -> None:
    """A line for each recipient, or as JSON; the spool is the same afterwards, and nobody was connected."""
    server, ids = waiting
    before = machine.tree()
    way = f"127.0.0.1:{server.port}"
    expected = [(ids["other"], "other@c.example"), (ids["other"], "x@d.example")]
    if arguments != ("--domain", "c.example"):
        expected.append((ids["new"], "new@b.example"))
    if arguments == ("--all",):
        expected.append((ids["later"], "later@b.example"))
    lines = machine.flush("--dry-run", *arguments).output.decode().splitlines()
    assert sorted(lines) == sorted(f"{one}\t{address}\trelay1: {way}" for one, address in expected)
    objects = [json.loads(line) for line in machine.flush("--dry-run", "--json", *arguments).output.splitlines()]
    assert sorted((found["queue_id"], found["recipient"]) for found in objects) == sorted(expected)
    assert all((found["relay"], found["hosts"]) == ("relay1", [way]) for found in objects)
    assert machine.tree() == before
    assert server.sessions == []


@pytest.mark.parametrize(
    "arguments",
    [("--no-such",), ("--every", "1h", "--all"), ("--every", "soon"), ("--wait", "-1s"), ("--domain",)],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_is_64(machine: Machine, arguments: tuple[str, ...]) -> None:
    result = machine.flush(*arguments, code=64)
    assert result.output == b""
    assert result.errors.count("\n") == 1


# The lock.


def test_one_pass_at_a_time(machine: Machine, smtp_server: Start) -> None:
    """Busy: 0 for a plain pass, 75 with --fail-if-busy or when it was told what to do; nothing is sent twice."""  # C-012
    server = smtp_server()
    with busy(machine, server):
        one = machine.enqueue(X, *ME, "new@b.example")
        assert "another pass is at work" in machine.flush().said
        for arguments in (("--fail-if-busy",), ("--all",), (one,), ("--domain", "b.example"), ("--sender", "me@a.example")):
            assert "another pass is at work" in machine.flush(*arguments, code=75).said
    assert arrived(server) == ["new@b.example", YOU]


def test_a_wait_that_runs_out_ends_as_if_there_had_been_none(machine: Machine, smtp_server: Start) -> None:
    with busy(machine, smtp_server()), machine.start("flush", "--wait", "1s") as plain:
        machine.flush("--wait", "1s", "--fail-if-busy", code=75)
        assert plain.wait().code == 0


def test_who_waits_gets_the_lock(machine: Machine, smtp_server: Start) -> None:
    """`--wait`: after the other pass the work is done."""
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}"))
    machine.enqueue(X, *ME, "later@b.example")
    machine.flush()
    server = smtp_server()
    with busy(machine, server):
        waiting = machine.start("flush", "--wait", "10m", "--all")
        assert arrived(server) == []
    with waiting:
        assert waiting.wait().code == 0
    assert arrived(server) == ["later@b.example", YOU]
    assert machine.ids() == []


def test_a_lock_left_by_a_killed_pass_holds_nobody_up(machine: Machine, smtp_server: Start) -> None:
    """The lock ends with its process; the file stays."""  # C-012
    server = smtp_server()
    gate = server.gate("DATA")
    machine.relay_to(server)
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        running.process.kill()
        running.wait()
    gate.open()
    machine.flush("--fail-if-busy")
    assert arrived(server) == [YOU]
    assert os.path.exists(f"{machine.spool}/lock")


# A loop of passes.


def test_every_picks_up_new_mail_at_once(machine: Machine, smtp_server: Start) -> None:
    """`--every 1h` is for the periodic pass; new mail starts one within a second or so."""
    machine.relay_to(server := smtp_server())
    with machine.start("flush", "--every", "1h") as running:
        for number in range(2):
            machine.enqueue(X, *ME, f"r{number}@b.example")
            handed_in = time.monotonic()
            running.wait_for_error("smartrelay: 1 sent, 0 deferred, 0 bounced; 0 messages waiting\n", number + 1)
            assert time.monotonic() - handed_in < 5
        running.process.terminate()
        assert running.wait().code == -15
    assert arrived(server) == ["r0@b.example", "r1@b.example"]
    assert machine.ids() == []


def test_every_outlives_a_pass_that_fails(machine: Machine, smtp_server: Start) -> None:
    """No relay yet: it says so and goes on; mail is kept."""
    with machine.start("flush", "--every", "1h") as running:
        one = machine.enqueue(X, *ME, YOU)
        running.wait_for_error("no relay is configured")
        machine.enqueue(X, *ME, YOU)
        running.wait_for_error("no relay is configured", 2)
        running.process.terminate()
        assert running.wait().code == -15
    assert one in machine.ids("cur")


# What is wrong with the configuration.

WRONG = {
    "an unknown key": (
        '[limits]\nmax_conections = 1\n[[relay]]\nhosts = ["smtp://x"]\n',
        ["max_conections", "did you mean max_connections"],
    ),
    "a wrong type": ('[[relay]]\nhosts = "smtp://x"\n', ["hosts", "list of strings"]),
    "no TOML": ("[[relay]\n", ["TOML"]),
    "an unreadable secret": (
        relay("smtps://x", auth='{ user = "me", secret = "file:/nonexistent" }'),
        ["/nonexistent"],
    ),
    "a secret that is not there": (relay("smtps://x", auth='{ user = "me", secret = "env:NO_SUCH" }'), ["NO_SUCH"]),
    "a host that is none": (relay("smtp.example.org"), ["smtp+tls://"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_78_and_the_spool_comes_to_rest(machine: Machine, name: str) -> None:
    """One sentence names the file and the key; new/ is emptied all the same, and mail can still be handed in."""  # D-112
    text, words = WRONG[name]
    machine.configure(text)
    ids = [machine.enqueue(X, *ME, YOU) for _ in range(2)]
    result = machine.flush(code=78)
    assert result.said.count("\n") == 1
    assert machine.config in result.said
    for word in words:
        assert word in result.said
    assert machine.ids("new") == []
    assert machine.ids("cur") == ids
    machine.flush(code=78)


# What it says.


def test_the_report_as_json(machine: Machine, smtp_server: Start) -> None:
    """Numbers of recipients; on standard output nothing else."""
    machine.relay_to(smtp_server(replies={"RCPT TO:<no@": b"550 5.1.1 x", "RCPT TO:<later@": b"450 4.2.1 x"}))
    machine.enqueue(X, "-f", "", "ok@b.example", "no@b.example", "later@b.example")
    result = machine.flush("--json")
    report = json.loads(result.output)
    expected = {"sent": 1, "deferred": 1, "bounced": 1, "doubtful": 0, "waiting": 1, "connections": 1, "stopped": False}
    assert {name: report[name] for name in expected} == expected
    assert result.said == ""
    idle = json.loads(machine.flush("--json").output)
    assert (idle["sent"], idle["waiting"]) == (0, 1)


def test_a_wrong_word_is_wrong_on_an_idle_day_too(machine: Machine) -> None:
    """What is short for a pass with nothing to do is no laxer than the rest."""
    machine.configure(relay("smtp://127.0.0.1:9"))
    assert "'soon' is no span of time" in machine.flush("--wait", "soon", code=64).said
    assert machine.flush("--wait=5s").code == 0


def test_quiet_is_quiet_and_the_log_goes_on(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(smtp_server())
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush("-q")
    assert (result.output, result.said) == (b"", "")
    assert result.line(one, "status=sent")
