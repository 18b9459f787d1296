"""sendmail at the keyboard: -v, -odi and -odf on a terminal make one attempt at once; the exit code is that of queueing."""

import base64
import os
import signal
import sys
import termios
from collections.abc import Callable

import pytest

from tests.e2e.commands import SENDMAIL, SMARTRELAY, Machine, relay
from tests.e2e.terminal import Terminal, at_terminal
from tests.support.certificates import Certificates
from tests.support.process import free_port
from tests.support.smtp_server import Action, ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
PASSWORD = "hunter2 and more"


def send(machine: Machine, *arguments: str, env: dict[str, str | None] | None = None) -> Terminal:
    """A person sends a message from a terminal."""
    return at_terminal(machine, SENDMAIL, *ME, *arguments, text=X, env=env)


def said(machine: Machine, *arguments: str, env: dict[str, str | None] | None = None) -> list[str]:
    """The same, to its end: the lines that they see. The exit code is always 0."""
    with send(machine, *arguments, env=env) as terminal:
        assert terminal.wait() == 0, terminal.text
    return terminal.lines


def test_v_shows_the_dialogue_and_no_secret(
    machine: Machine, smtp_server: Start, certificates: Certificates
) -> None:  # D-025 A-138
    """TLS and a password; spool and configuration named on the command line only. The message is gone in the end."""
    server = smtp_server(certificate=certificates.server, credentials=("me", PASSWORD))
    auth = '{ user = "me", secret = "env:SECRET" }'
    machine.configure(relay(f"smtp+tls://localhost:{server.port}", auth=auth, ca_file=f'"{certificates.ca_file}"'))
    env = {"SECRET": PASSWORD, "SMARTRELAY_CONFIG": None, "SMARTRELAY_SPOOL": None}
    lines = said(machine, "-v", "-C", machine.config, "--spool", machine.spool, YOU, env=env)
    first, peer, *dialogue, last = lines
    assert first.startswith("smartrelay-sendmail: queued as ")
    assert peer == f"--- localhost[127.0.0.1]:{server.port}"
    assert last == f"smartrelay: delivered to {YOU}"
    assert all(line.startswith(("C: ", "S: ", "TLS: TLSv1.")) for line in dialogue)
    assert "C: AUTH PLAIN [hidden]" in dialogue and "S: 250 2.0.0 taken" in dialogue
    text = "\n".join(lines)
    for secret in (PASSWORD, base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode(), "hello", "Subject"):
        assert secret not in text
    assert len(server.accepted) == 1 and machine.ids() == []


@pytest.mark.parametrize("option", ["-odi", "-odf"])
def test_an_attempt_without_v_is_one_sentence(machine: Machine, smtp_server: Start, option: str) -> None:  # D-026
    machine.relay_to(server := smtp_server())
    assert said(machine, option, YOU, "they@b.example") == [f"smartrelay: delivered to {YOU}, they@b.example"]
    assert len(server.accepted) == 1 and machine.ids() == []


@pytest.mark.parametrize("options", [("-v",), ("-odi",), ("-odf",), ("-v", "-odi")], ids=" ".join)
def test_without_a_terminal_it_only_queues(
    machine: Machine, smtp_server: Start, options: tuple[str, ...]
) -> None:  # D-025 D-026 D-090 D-121
    """So cron, which gives -odi every day, never waits for a network."""
    machine.relay_to(server := smtp_server())
    result = machine.sendmail(X, *options, *ME, YOU)
    (one,) = machine.ids("new")
    assert result.code == 0 and not result.output
    assert result.errors == (f"smartrelay-sendmail: queued as {one}\n" if "-v" in options else "")
    assert server.sessions == []


@pytest.mark.parametrize(
    "options", [(), ("-odb",), ("-odq",), ("-odd",), ("-v", "-odq"), ("-v", "-odd"), ("-odi", "-odq")], ids=" ".join
)
def test_who_asks_to_queue_only_queues(machine: Machine, smtp_server: Start, options: tuple[str, ...]) -> None:  # D-026
    """On a terminal too; the last delivery mode counts."""
    machine.relay_to(server := smtp_server())
    lines = said(machine, *options, YOU)
    (one,) = machine.ids("new")
    assert lines == ([f"smartrelay-sendmail: queued as {one}"] if "-v" in options else [])
    assert server.sessions == []


@pytest.mark.parametrize(
    ("replies", "kept", "words"),
    [
        ({"RCPT": b"450 4.2.1 la\x1bter"}, True, f"; deferred for {YOU}: 127.0.0.1[127.0.0.1]:PORT says 450 4.2.1 la?ter"),
        ({"GREETING": b"421 4.3.2 busy"}, True, f"; deferred for {YOU}: 127.0.0.1:PORT says 421 4.3.2 busy"),
        ({"DOT": Action.CLOSE}, True, "the server may have taken it, so it may be delivered twice"),
        (
            {"RCPT": b"550 5.1.1 no"},
            False,
            f"smartrelay: given up for {YOU}: 127.0.0.1[127.0.0.1]:PORT says 550 5.1.1 no; a notice goes to the sender",
        ),
    ],
    ids=["deferred", "busy", "doubt", "refused"],
)
def test_whatever_comes_of_it_is_said_and_is_no_failure(
    machine: Machine, smtp_server: Start, replies: dict[str, bytes], kept: bool, words: str
) -> None:  # D-026: exit 0 even if deferred
    machine.relay_to(server := smtp_server(replies=replies))
    (line,) = said(machine, "-odi", YOU)
    assert words.replace("PORT", str(server.port)) in line
    (one,) = machine.ids()  # the message, or the notice to its sender
    assert line.startswith(f"smartrelay: queued as {one}; ") is kept


def test_each_recipient_is_accounted_for(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no", "RCPT TO:<later": b"450 4.2.0 later"}))
    good = [f"r{number}@b.example" for number in range(7)]
    delivered, refused, waiting = said(machine, "-odi", *good, "bad@b.example", "later1@b.example", "later2@b.example")
    assert delivered == f"smartrelay: delivered to {', '.join(good[:5])} and 2 more"
    assert refused.startswith("smartrelay: given up for bad@b.example: ")
    assert "; deferred for later1@b.example, later2@b.example: " in waiting


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ((), "no relay is configured"),
        (("[limits]\nmax_conections = 1\n",), "max_conections"),
        (("[[relay\n",), "smartrelay.toml"),
        ((relay("smtp+tls://localhost:1", auth='{ user = "me", secret = "env:NOT_SET" }'),), "NOT_SET"),
    ],
    ids=["no relay", "unknown key", "no TOML", "no secret"],
)
def test_a_configuration_that_cannot_be_used_is_said_and_is_no_failure(
    machine: Machine, tables: tuple[str, ...], words: str
) -> None:  # D-026
    machine.configure(*tables)
    first, last = said(machine, "-v", YOU)
    (one,) = machine.ids()
    assert first == f"smartrelay-sendmail: queued as {one}"
    assert last.startswith(f"smartrelay: queued as {one}; ") and words in last


def test_a_message_that_a_rate_holds_back_is_told_so(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(), rate='"1/h"')
    assert said(machine, "-odi", YOU) == [f"smartrelay: delivered to {YOU}"]
    (line,) = said(machine, "-odi", YOU)
    (one,) = machine.ids()
    assert line == f"smartrelay: queued as {one}; a rate holds it back, so a later pass tries it"
    assert len(server.accepted) == 1


@pytest.mark.as_another_user
def test_without_a_network_no_attempt_is_counted_and_that_is_said(machine: Machine) -> None:
    """A network name space of its own, in which not even the loopback is up; it takes root to make one."""
    machine.configure(relay("smtp://127.0.0.1:25"))
    with at_terminal(machine, "unshare", "--net", SENDMAIL, "-odi", *ME, YOU, text=X) as terminal:
        assert terminal.wait() == 0
    (one,) = machine.ids()
    assert terminal.lines == [f"smartrelay: queued as {one}; this machine is offline, so a later pass tries it"]


def test_a_host_that_is_left_for_the_next_is_shown_under_v(machine: Machine, smtp_server: Start) -> None:  # D-025
    server, closed = smtp_server(), free_port()
    machine.configure(relay(f"smtp://127.0.0.1:{closed}", f"smtp://127.0.0.1:{server.port}"))
    lines = said(machine, "-v", YOU)
    assert "connection refused" in lines[1] and str(closed) in lines[1]
    assert lines[2] == f"--- 127.0.0.1[127.0.0.1]:{server.port}"
    assert lines[-1] == f"smartrelay: delivered to {YOU}"


def test_several_connections_are_told_apart(machine: Machine, smtp_server: Start) -> None:  # D-025
    """Two next hops at once: each line stands below the name of its peer."""
    servers = smtp_server(), smtp_server()
    machine.configure(
        relay(f"smtp://127.0.0.1:{servers[0].port}", recipient='["*@b.example"]'),
        relay(f"smtp://127.0.0.1:{servers[1].port}"),
    )
    found: dict[str, list[str]] = {}
    peer = ""
    for line in said(machine, "-v", YOU, "they@c.example")[1:-1]:
        peer = line if line.startswith("--- ") else peer
        found.setdefault(peer, []).append(line)
    for server, address in zip(servers, (YOU, "they@c.example"), strict=True):
        lines = found[f"--- 127.0.0.1[127.0.0.1]:{server.port}"]
        assert [line for line in lines if line.startswith("C: RCPT")] == [f"C: RCPT TO:<{address}>"]
        assert lines[-1] == "S: 221 2.0.0 bye"


def test_a_pass_that_runs_takes_it_along(machine: Machine, smtp_server: Start) -> None:
    """The lock is busy: that is said at once, and no second attempt is made beside the first."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("DATA")
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        (line,) = said(machine, "-odi", YOU)
        one = line.split()[3].removesuffix(";")
        assert one in machine.ids() and len(machine.ids()) == 2
        assert line.endswith(f"; another pass is at work on {machine.spool}; it takes the message along, or the next one does")
        gate.open()
        assert running.wait().code == 0
    assert len(server.accepted) == 2 and machine.ids() == []


def test_a_pass_that_was_quicker_is_told(machine: Machine, smtp_server: Start) -> None:
    """What the sendmail command runs, for a message that has gone meanwhile."""
    machine.relay_to(server := smtp_server())
    one = machine.enqueue(X, *ME, YOU)
    machine.flush()
    with at_terminal(machine, SMARTRELAY, "sendmail-now", "-v", one) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines == [f"smartrelay: {one} has left the queue already: another pass was first"]
    assert len(server.accepted) == 1


def assert_kept_and_then_sent(machine: Machine, smtp_server: Start) -> None:
    """The message is in the queue, whole, and goes once to a server that takes it."""
    (one,) = machine.ids()
    assert machine.text(one).endswith(b"\n\nhello\n")
    machine.relay_to(server := smtp_server())
    machine.make_due()
    machine.flush()
    assert len(server.accepted) == 1 and machine.ids() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_attempt_and_not_in_failure(machine: Machine, smtp_server: Start, number: signal.Signals) -> None:
    """Ctrl-C while the server hangs: the message was accepted, so 0."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("EHLO")
    with send(machine, "-v", YOU) as terminal:
        gate.wait_reached()
        terminal.process.send_signal(number)
        assert terminal.wait() == 0
    (one,) = machine.ids()
    assert terminal.lines[-1] == f"smartrelay: queued as {one}; interrupted, so a later pass tries it"
    assert_kept_and_then_sent(machine, smtp_server)


def test_a_signal_that_comes_before_the_attempt_is_no_failure(machine: Machine, smtp_server: Start) -> None:
    """As soon as the id is said the message is accepted, although another program must still be started."""
    machine.relay_to(smtp_server())
    with send(machine, "-v", YOU) as terminal:
        terminal.wait_for("queued as ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
    assert "interrupted" in terminal.lines[-1]
    assert_kept_and_then_sent(machine, smtp_server)


def test_a_final_dot_in_flight_is_waited_for(machine: Machine, smtp_server: Start) -> None:
    """No signal leaves a doubt where the server answers within ten seconds."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("DOT")
    with send(machine, "-odi", YOU) as terminal:
        gate.wait_reached()
        terminal.process.send_signal(signal.SIGTERM)
        assert machine.run("queue", "list").code == 0  # takes longer than the attempt needs to see the signal
        gate.open()
        assert terminal.wait() == 0
    assert terminal.lines == [f"smartrelay: delivered to {YOU}"]
    assert len(server.accepted) == 1 and machine.ids() == []


def test_the_attempt_has_an_end(machine: Machine, smtp_server: Start) -> None:
    """A server that hangs holds nobody at the keyboard: 30 s, of which the last 12 are for final dots; here 13."""
    machine.relay_to(server := smtp_server())
    server.gate("GREETING")
    one = machine.enqueue(X, *ME, YOU)
    with at_terminal(machine, SMARTRELAY, "sendmail-now", "--within", "13s", one) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines == [f"smartrelay: queued as {one}; not sent within 13 s, so a later pass tries it"]
    assert_kept_and_then_sent(machine, smtp_server)


def test_the_end_comes_while_a_secret_is_fetched_too(machine: Machine) -> None:
    """A command that asks for a passphrase, say, and waits for a person who does not come."""
    fifo = os.path.join(machine.folder, "fifo")
    os.mkfifo(fifo)
    machine.configure(relay("smtp+tls://localhost:1", auth=f'{{ user = "me", secret = "cmd:read x <{fifo}" }}'))
    one = machine.enqueue(X, *ME, YOU)
    with at_terminal(machine, SMARTRELAY, "sendmail-now", "--within", "12s", one) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines == [f"smartrelay: queued as {one}; not sent within 12 s, so a later pass tries it"]


def test_the_message_is_durable_before_the_attempt_begins(machine: Machine, smtp_server: Start) -> None:
    """Killed at the connection: it is in the queue, whole, and in nobody's hand."""  # C-001
    machine.relay_to(server := smtp_server())
    gate = server.gate("GREETING")
    with send(machine, "-v", YOU) as terminal:
        gate.wait_reached()
        terminal.process.kill()
        assert terminal.wait() == -signal.SIGKILL
    assert_kept_and_then_sent(machine, smtp_server)


def test_a_terminal_that_is_stopped_does_not_stop_the_mail(machine: Machine, smtp_server: Start) -> None:
    """Ctrl-S: the message goes out and the lock is let go; only the person waits."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("EHLO")
    with send(machine, "-v", YOU) as terminal:
        gate.wait_reached()
        terminal.flow(termios.TCOOFF)
        gate.open()
        server.wait_for(lambda: server.accepted and server.sessions[0].closed)
        assert machine.flush("--wait", "20s", "--fail-if-busy").code == 0
        assert machine.ids() == []
        terminal.flow(termios.TCOON)
        assert terminal.wait() == 0
    assert terminal.lines[-1] == f"smartrelay: delivered to {YOU}"


def test_who_puts_it_aside_does_not_keep_the_lock(machine: Machine, smtp_server: Start) -> None:
    """Ctrl-Z has no effect on an attempt, nor has writing from the background."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("EHLO")
    with send(machine, "-v", YOU) as terminal:
        gate.wait_reached()
        with open(f"/proc/{terminal.process.pid}/status", encoding="ascii") as text:
            ignored = next(int(line.split()[1], 16) for line in text if line.startswith("SigIgn:"))
        gate.open()
        assert terminal.wait() == 0
    assert all(ignored >> number - 1 & 1 for number in (signal.SIGTSTP, signal.SIGTTOU))


def test_a_command_that_cannot_be_run_is_no_failure_of_queueing(machine: Machine) -> None:
    """What `setup` installs names the program by its path; an upgrade may have taken it away."""
    code = "import sys; sys.argv[0] = 'sendmail'; from smartrelay.door import main; main('', '/nonexistent/smartrelay')"
    with at_terminal(machine, sys.executable, "-c", code, "-odi", *ME, YOU, text=X) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines == ["smartrelay-sendmail: cannot run /nonexistent/smartrelay: No such file or directory"]
    assert len(machine.ids("new")) == 1


def test_what_cannot_be_queued_is_not_attempted(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(), more="")
    with at_terminal(machine, SENDMAIL, "-v", *ME, text=X) as terminal:
        assert terminal.wait() == os.EX_USAGE
    assert server.sessions == [] and "no recipients" in terminal.text
