"""`queue expire` and `queue delete --bounce`: mail is given up on an operator's word, and its sender told."""

import os
import pty
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from smartrelay.spool.queue import Queue
from tests.e2e.commands import DOMAIN, Machine, Result
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
ME, YOU, OTHER = f"me@{DOMAIN}", "you@b.example", "other@b.example"
X = b"Subject: about x\n\nbody\n"
LATER = {"RCPT TO:<you@": b"452 4.2.2 mailbox full", "RCPT TO:<other@": b"450 4.2.1 greylisted"}
POSTMASTER = f'postmaster = "admin@{DOMAIN}"'
EXPIRE, BOUNCE = ("expire", "--yes"), ("delete", "--bounce", "--yes")


@pytest.fixture
def server(machine: Machine, smtp_server: Start) -> ScriptedServer:
    """A relay that puts mail for b.example off, and takes what goes back."""
    started = smtp_server(replies=LATER)
    machine.relay_to(started, name='"work"')
    return started


def place(machine: Machine, state: str, *recipients: str, sender: str = ME, more: tuple[str, ...] = ()) -> str:
    """A message in that state: new, tried once and waiting, or tried once and held."""
    one = machine.enqueue(X, "-f", sender, *more, *(recipients or (YOU,)))
    if state != "new":
        machine.flush(one)
    if state == "held":
        assert machine.run("queue", "hold", one).code == 0
    return one


def returned(machine: Machine, server: ScriptedServer) -> list[EmailMessage]:
    """What a pass then sends: notices."""
    before = len(server.accepted)
    machine.flush()
    assert machine.ids() == [] and os.listdir(f"{machine.spool}/state") == []
    found = server.accepted[before:]
    assert all(each.mail_from.startswith(b"MAIL FROM:<>") for each in found)
    return [message_from_bytes(each.content, policy=policy.default) for each in found]


def groups(notice: EmailMessage) -> list[EmailMessage]:
    """What its report says of each recipient."""
    report = notice.get_payload(1)
    assert isinstance(report, EmailMessage)
    return list(report.get_payload())[1:]


def did(result: Result, said: str) -> None:
    assert (result.code, result.output, result.said) == (0, b"", f"smartrelay: {said}\n")


@pytest.mark.parametrize("state", ["new", "waiting", "held"])
def test_what_is_expired_comes_back_with_the_last_real_reason(machine: Machine, server: ScriptedServer, state: str) -> None:
    """2.1: given up now, in whatever state; as a pass does at the end of its lifetime."""  # C-005 C-060
    one = place(machine, state)
    result = machine.run("queue", *EXPIRE, one)
    did(result, "1 message given up")
    text = (
        "452 4.2.2 mailbox full" if state != "new" else "it was given up by the operator of the mail system before it was tried"
    )
    result.line(f"{one}: to=<{YOU}>", "dsn=5.4.7, status=expired", text)
    result.line(f"{one}: removed")
    result.line(f"{one}: from=<{ME}>", "nrcpt=1")
    assert len(machine.ids("new")) == 1 and machine.ids("cur", "hold") == [], "the notice is in new/, where it wants a pass"
    (notice,) = returned(machine, server)
    assert notice["To"] == ME
    (group,) = groups(notice)
    assert (group["Action"], group["Status"]) == ("failed", "5.4.7")
    assert group["Diagnostic-Code"] == (f"smtp; {text}" if state != "new" else f"x-smartrelay; {text}")


@pytest.mark.parametrize("state", ["new", "waiting", "held"])
def test_what_is_deleted_with_a_bounce_comes_back_as_removed(machine: Machine, server: ScriptedServer, state: str) -> None:
    one = place(machine, state, YOU, OTHER)
    result = machine.run("queue", *BOUNCE, one)
    did(result, "1 message deleted")
    for recipient in (YOU, OTHER):
        result.line(f"{one}: to=<{recipient}>", "status=bounced (the message was removed from the queue by the operator")
    (notice,) = returned(machine, server)  # C-039
    assert [group["Final-Recipient"] for group in groups(notice)] == [f"rfc822; {YOU}", f"rfc822; {OTHER}"]
    assert {group["Status"] for group in groups(notice)} == {"5.0.0"}
    assert "removed from the queue" in notice.get_payload(0).get_content()  # type: ignore[union-attr]


def test_who_has_his_mail_is_not_told_of(machine: Machine, server: ScriptedServer) -> None:  # C-070
    one = place(machine, "waiting", "fine@b.example", YOU)
    did(machine.run("queue", *EXPIRE, one), "1 message given up")
    (notice,) = returned(machine, server)
    assert [group["Final-Recipient"] for group in groups(notice)] == [f"rfc822; {YOU}"]


@pytest.mark.parametrize("verb", [EXPIRE, BOUNCE])
def test_who_wanted_no_notice_gets_none_and_the_operator_is_told_so(
    machine: Machine, server: ScriptedServer, verb: tuple[str, ...]
) -> None:  # C-062 C-067
    one = place(machine, "waiting", more=("-N", "never"))
    result = machine.run("queue", *verb, one)
    assert result.code == 0
    assert result.said.splitlines()[0] == f"smartrelay: {one}: nobody is told: its sender asked for no notice"
    assert returned(machine, server) == []


def test_of_what_has_no_sender_the_postmaster_is_told_once_and_nobody_else(
    machine: Machine, server: ScriptedServer
) -> None:  # C-021 C-022
    one = place(machine, "waiting", sender="<>")
    result = machine.run("queue", *EXPIRE, one)
    assert f"{one}: nobody is told: it has no sender" in result.said
    assert returned(machine, server) == []
    machine.configure(f'[[relay]]\nhosts = ["smtp://127.0.0.1:{server.port}"]\n', top=POSTMASTER)
    one = place(machine, "waiting", sender="<>")
    did(machine.run("queue", *EXPIRE, one), "1 message given up")
    (notice,) = returned(machine, server)
    assert notice["To"] == f"admin@{DOMAIN}"


def test_what_the_postmaster_is_told_cannot_be_told_of_again(machine: Machine, server: ScriptedServer) -> None:  # C-022
    machine.configure(f'[[relay]]\nhosts = ["smtp://127.0.0.1:{server.port}"]\n', top=POSTMASTER)
    one = place(machine, "waiting", sender="<>")
    assert machine.run("queue", *EXPIRE, one).code == 0
    (told,) = machine.ids()
    result = machine.run("queue", *EXPIRE, told)
    assert result.code == 0 and f"{told}: nobody is told" in result.said
    assert returned(machine, server) == []


def test_filters_and_all_pick_as_for_the_other_verbs(machine: Machine, server: ScriptedServer) -> None:
    held, waits, new = place(machine, "held"), place(machine, "waiting", OTHER), place(machine, "new")
    did(machine.run("queue", *EXPIRE, "--recipient", "other@*"), "1 message given up")
    did(machine.run("queue", *BOUNCE, "--state", "held"), "1 message deleted")
    result = machine.run("queue", *EXPIRE, "-", text=f"{new}\n".encode())
    did(result, "1 message given up")
    assert not {held, waits, new} & set(machine.ids())
    assert len(returned(machine, server)) == 3
    assert machine.run("queue", *EXPIRE, "--all").said == "smartrelay: 0 messages given up\n"


def test_what_is_not_there_is_66_after_the_others(machine: Machine, server: ScriptedServer) -> None:
    one = place(machine, "waiting")
    result = machine.run("queue", *EXPIRE, "25X0LCH4YW6W9QYPF", one)
    assert result.code == 66 and "1 message given up" in result.said
    assert len(returned(machine, server)) == 1


@pytest.mark.parametrize("verb", [EXPIRE, BOUNCE])
def test_what_is_being_delivered_is_75_and_may_be_waited_for(
    machine: Machine, server: ScriptedServer, verb: tuple[str, ...]
) -> None:
    """2.2, 2.4: a pass at work is never surprised."""
    one = place(machine, "waiting")
    queue = Queue(machine.spool)
    queue.read_directory(everything=True)
    queue.set_relaying(one)
    before = machine.tree()
    result = machine.run("queue", *verb, one)
    assert result.code == 75 and "is being delivered now" in result.said
    assert machine.tree() == before
    with machine.start("queue", *verb, "--wait", "20s", one) as waiting:
        queue.set_waiting(one, 99_999_999_999)
        assert waiting.wait().code == 0
    assert len(returned(machine, server)) == 1


def test_a_pass_at_work_goes_on_around_it(machine: Machine, smtp_server: Start) -> None:
    """It takes in what is new without a lock, and finds gone what was given up."""
    server = smtp_server(replies=LATER)
    machine.relay_to(server, more="[limits]\nmax_connections = 1\n")
    gate = server.gate("DATA")
    machine.enqueue(X, "-f", ME, "fine@b.example")
    ids = [machine.enqueue(X, "-f", ME, YOU) for _ in range(5)]
    with machine.start("flush") as running:
        gate.wait_reached()
        assert machine.run("queue", *EXPIRE, *ids[3:]).code == 0
        gate.open()
        assert running.wait().code == 0
    machine.flush()
    assert machine.ids() == ids[:3]
    assert [each.mail_from.startswith(b"MAIL FROM:<>") for each in server.accepted] == [False, True, True]


def test_a_message_that_cannot_be_read_is_left_where_it_is(machine: Machine, server: ScriptedServer) -> None:
    """Law 6: 65; nobody can be told of what cannot be read."""
    one = place(machine, "new")
    with open(machine.path(one), "ab") as file:
        file.write(b"more")
    before = machine.tree()
    result = machine.run("queue", *EXPIRE, one)
    assert result.code == 65 and "its text is not what its envelope says" in result.said
    assert machine.tree() == before


def test_a_configuration_that_cannot_be_read_is_78(machine: Machine, server: ScriptedServer) -> None:
    """The notice needs its names."""
    one = place(machine, "new")
    machine.configure("[queue]\nlifetime = 5\n")
    for verb in (EXPIRE, BOUNCE):
        result = machine.run("queue", *verb, one)
        assert result.code == 78 and "lifetime" in result.said
    assert machine.ids("new") == [one]


@pytest.mark.parametrize(("verb", "question"), [("expire", "Give up 1 message"), ("delete", "Delete 1 message")])
@pytest.mark.parametrize("answer", [b"n\n", b"y\n"])
def test_on_a_terminal_it_asks(machine: Machine, server: ScriptedServer, verb: str, question: str, answer: bytes) -> None:
    one = place(machine, "new")
    controller, terminal = pty.openpty()
    with machine.start("queue", verb, *(["--bounce"] if verb == "delete" else []), one, text=terminal) as running:
        os.close(terminal)
        running.wait_for_error(f"{question} and tell the senders? [y/N]")
        os.write(controller, answer)
        result = running.wait()
    os.close(controller)
    assert (result.code == 0) == (answer == b"y\n")
    assert (one in machine.ids()) == (answer == b"n\n")
