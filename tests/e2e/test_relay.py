"""One pass hands mail to smart hosts: what each answer, and each silence, means for each recipient."""

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from tests.e2e.commands import HOSTNAME, Machine, Result, relay
from tests.e2e.line_server import LineServer
from tests.support.process import free_port
from tests.support.smtp_server import Action, Answer, Gate, Pieces, ScriptedServer, Session, Transaction

Start = Callable[..., ScriptedServer]
On = Callable[[str, bytes, Session], Answer | None]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
ONE_CONNECTION = "[limits]\nmax_connections = 1"


def url(server: ScriptedServer, scheme: str = "smtp", user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{server.port}"


def recipients(transaction: Transaction) -> list[str]:
    return [address.decode().strip("<>") for address in transaction.recipients]


def is_notice(transaction: Transaction | None) -> bool:
    return transaction is not None and transaction.mail_from.startswith(b"MAIL FROM:<>")


def notices(server: ScriptedServer) -> list[EmailMessage]:
    """The bounces that arrived at the server."""
    found = []
    for transaction in filter(is_notice, server.accepted):
        message = email.message_from_bytes(transaction.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        found.append(message)
    return found


def but_for_notices(**replies: Answer) -> On:
    """These answers to all but notices, so that those get through."""

    def on(point: str, argument: bytes, session: Session) -> Answer | None:
        notice = argument.startswith(b"FROM:<>") if point == "MAIL" else is_notice(session.transaction)
        return None if notice else replies.get(point)

    return on


def status_groups(notice: EmailMessage) -> list[dict[str, str]]:
    """The groups of fields in the message/delivery-status part; the first is about the message."""
    part = next(part for part in notice.walk() if part.get_content_type() == "message/delivery-status")
    return [{name: str(value) for name, value in group.items()} for group in part.iter_parts()]


def assert_deferred(machine: Machine, result: Result, one: str, *words: str, to: str = YOU) -> None:
    """The message waits, its log line says why, and nobody got a notice."""
    assert machine.ids() == [one]
    assert machine.ids("cur") == [one]
    result.line(one, f"to=<{to}>", "status=deferred", "dsn=4.", *words)
    assert "1 deferred, 0 bounced" in result.said
    assert "1 message waiting" in result.said


# Connections, messages, recipients.


def test_several_messages_share_a_connection(machine: Machine, smtp_server: Start) -> None:
    """One EHLO, one QUIT, and a transaction for each message."""
    machine.relay_to(server := smtp_server())
    for number in range(4):
        machine.enqueue(X, *ME, f"r{number}@b.example")
    result = machine.flush()
    (session,) = server.sessions
    assert sorted(recipients(each)[0] for each in server.accepted) == [f"r{number}@b.example" for number in range(4)]
    assert [line.split()[0] for line in session.commands] == [b"EHLO", *[b"MAIL", b"RCPT", b"DATA"] * 4, b"QUIT"]
    assert result.said == "smartrelay: 4 sent, 0 deferred, 0 bounced; 0 messages waiting\n"
    assert machine.ids() == []


def test_each_recipient_has_a_result_of_its_own(machine: Machine, smtp_server: Start) -> None:
    """Accepted ones never again, refused ones bounce once, the others alone are tried again."""
    # C-020, C-023, C-024, C-025, C-026, C-027, C-028, C-029, C-030, C-032, C-033, C-034, C-036, C-039
    server = smtp_server(
        replies={
            "RCPT TO:<no@": b"550-5.1.1 nobody\r\n550 5.1.1 of that name",
            "RCPT TO:<gone@": b"551 5.7.1 moved",
            "RCPT TO:<later@": b"450 4.2.1 full",
        }
    )
    machine.relay_to(server)
    addresses = ["ok@b.example", "no@b.example", "later@c.example", "Gone@c.example", "fine@d.example"]
    message = b"Subject: x\nMessage-ID: <1@a.example>\nTo: you\n\nsecret body\n"
    one = machine.enqueue(message, *ME, *addresses)
    result = machine.flush()
    mail, notice_mail = server.accepted
    assert recipients(mail) == ["ok@b.example", "fine@d.example"]
    assert len(mail.rcpt_to) == 5
    assert recipients(notice_mail) == ["me@a.example"]
    assert machine.ids() == [one]
    for address, status in zip(addresses, ["sent", "bounced", "deferred", "bounced", "sent"], strict=True):
        result.line(one, f"to=<{address}>", f"status={status}")
    assert "smartrelay: 3 sent, 1 deferred, 2 bounced; 1 message waiting" in result.said  # the notice was sent, too

    (notice,) = notices(server)
    assert notice["Auto-Submitted"] == "auto-replied"
    assert notice["To"] == "me@a.example"
    assert notice["From"].addresses[0].addr_spec == f"MAILER-DAEMON@{HOSTNAME}"
    assert notice["In-Reply-To"] == "<1@a.example>"
    assert notice["Subject"]
    assert notice["Message-ID"]
    assert notice["Date"].datetime is not None
    assert notice.get_content_type() == "multipart/report"
    assert notice.get_param("report-type") == "delivery-status"
    parts = [part.get_content_type() for part in notice.iter_parts()]
    assert parts == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    about, *failed = status_groups(notice)
    assert about["Reporting-MTA"] == f"dns; {HOSTNAME}"
    assert "Original-Envelope-Id" not in about
    assert about["Arrival-Date"].endswith("+0000") or about["Arrival-Date"][-5] in "+-"
    expected = [
        ("no@b.example", "5.1.1", "smtp; 550 5.1.1 nobody 5.1.1 of that name"),
        ("Gone@c.example", "5.7.1", "smtp; 551 5.7.1 moved"),
    ]
    for group, (address, status, diagnostic) in zip(failed, expected, strict=True):
        order = ["Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"]
        assert list(group) == order
        assert [group[name] for name in order[:-1]] == [
            f"rfc822; {address}",
            "failed",
            status,
            "dns; 127.0.0.1",
            diagnostic,
        ]
    text = notice.as_string()
    assert "Subject: x" in text
    assert "secret body" not in text
    assert "later@" not in text
    assert "ok@b" not in text

    assert machine.flush("--all").code == 0
    machine.make_due()
    machine.flush()
    assert [each.rcpt_to for each in server.transactions[2:]] == [[b"RCPT TO:<later@c.example>"]] * 2
    assert len(notices(server)) == 1
    server.replies.clear()
    machine.make_due()
    machine.flush()
    assert recipients(server.accepted[-1]) == ["later@c.example"]
    assert machine.ids() == []


def test_the_whole_message_comes_back_to_who_asked_for_it(machine: Machine, smtp_server: Start) -> None:
    """`-R full -V id`: the text as it was handed in, and the envelope id as it was given."""  # C-027, C-037, C-071
    machine.relay_to(server := smtp_server(replies={"RCPT TO:<no@": b"550 5.1.1 nobody"}))
    text = "Subject: x\nContent-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\n\nSchöne Grüße\n".encode()
    machine.enqueue(text, *ME, "-R", "full", "-V", "AB+20c", "no@b.example")
    machine.flush()
    (notice,) = notices(server)
    assert status_groups(notice)[0]["Original-Envelope-Id"] == "AB c"
    returned = list(notice.iter_parts())[2]
    assert returned.get_content_type() == "message/rfc822"
    original = returned.get_content()
    assert (original["Subject"], original.get_payload(decode=True).decode()) == ("x", "Schöne Grüße\r\n")


def test_the_first_digit_decides(machine: Machine, smtp_server: Start) -> None:
    """Codes that no RFC knows act by their class."""
    server = smtp_server(
        replies={
            "GREETING": b"220 go away, no mail here",
            "MAIL": b"252",
            "RCPT TO:<c257@": b"257 x",
            "RCPT TO:<c459@": b"459 x",
            "RCPT TO:<c577@": b"577 x",
            "DATA": b"399 x",
            "DOT": b"299 x",
        }
    )
    machine.relay_to(server)
    one = machine.enqueue(X, *ME, "c257@b.example", "c459@b.example", "c577@b.example")
    result = machine.flush()
    result.line(one, "to=<c257@b.example>", "dsn=2.0.0, status=sent (299 x)")
    result.line(one, "to=<c459@b.example>", "dsn=4.0.0, status=deferred (459 x)")
    result.line(one, "to=<c577@b.example>", "dsn=5.0.0, status=bounced (577 x)")


@pytest.mark.parametrize(
    ("point", "reply"),
    [
        ("GREETING", b"450 4.3.0 x"),
        ("GREETING", b"554 5.7.1 you are on a list"),
        ("EHLO", b"421 4.3.0 x"),
        ("EHLO", b"554 5.7.1 x"),
        ("MAIL", b"451 4.3.0 x"),
        ("MAIL", b"354 x"),
        ("MAIL", b"530 5.7.0 sign in"),
        ("RCPT", b"450 4.2.1 x"),
        ("DATA", b"451 4.3.0 x"),
        ("DATA", b"250 2.0.0 x"),
        ("DOT", b"451 4.3.0 x"),
        ("DOT", b"354 x"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.decode().replace(" ", "_"),
)
def test_whatever_is_no_plain_no_defers(machine: Machine, smtp_server: Start, point: str, reply: bytes) -> None:
    """No 4yz bounces, nor what is out of place, nor what concerns the host and not the message; nothing is lost."""
    #
    machine.relay_to(server := smtp_server(replies={point: reply}))
    one = machine.enqueue(X, *ME, YOU)
    assert_deferred(machine, machine.flush(), one)
    assert server.accepted == []
    assert all(each.data == b"" for each in server.transactions) or point == "DOT"


@pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA", "DOT"])
def test_a_plain_no_bounces_at_once_and_once(machine: Machine, smtp_server: Start, point: str) -> None:
    """5yz to MAIL, RCPT, DATA or the message: the sender gets one notice with the server's words."""
    # C-020, C-060
    machine.relay_to(server := smtp_server(on=but_for_notices(**{point: b"554 5.6.0 not this"})))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    result.line(one, f"to=<{YOU}>", "dsn=5.6.0, status=bounced (554 5.6.0 not this)")
    assert machine.ids() == []
    (notice,) = notices(server)
    assert status_groups(notice)[1]["Diagnostic-Code"] == "smtp; 554 5.6.0 not this"
    assert len(server.accepted) == 1


@pytest.mark.parametrize(("reply", "failed"), [(b"451 4.3.0 full", ["no"]), (b"554 5.7.1 spam", ["no", "ok"])])
def test_a_refusal_of_the_message_leaves_verdicts_on_recipients(
    machine: Machine, smtp_server: Start, reply: bytes, failed: list[str]
) -> None:
    """RCPT refused stays refused with its own words, whatever the answer to the message."""
    refuse = but_for_notices(DOT=reply)

    def on(point: str, argument: bytes, session: Session) -> Answer | None:
        return b"550 5.1.1 nobody" if argument.startswith(b"TO:<no@") else refuse(point, argument, session)

    machine.relay_to(server := smtp_server(on=on))
    machine.enqueue(X, *ME, "no@b.example", "ok@b.example")
    machine.flush()
    (notice,) = notices(server)
    words = {"no": "smtp; 550 5.1.1 nobody", "ok": "smtp; " + reply.decode()}
    found = {group["Final-Recipient"]: group["Diagnostic-Code"] for group in status_groups(notice)[1:]}
    assert found == {f"rfc822; {name}@b.example": words[name] for name in failed}
    assert len(machine.ids()) == ("ok" not in failed)


@pytest.mark.parametrize("end", [b"421 4.3.2 bye", Action.CLOSE], ids=["421", "closed"])
@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
def test_who_was_refused_stays_refused_when_the_session_ends(
    machine: Machine, smtp_server: Start, end: Answer, keywords: tuple[str, ...]
) -> None:
    """421 or a lost connection after RCPT: the recipient that was refused bounces, the undecided one is deferred."""
    refuse = but_for_notices(DATA=end)

    def on(point: str, argument: bytes, session: Session) -> Answer | None:
        return b"550 5.1.1 nobody" if argument.startswith(b"TO:<no@") else refuse(point, argument, session)

    machine.relay_to(server := smtp_server(on=on, keywords=keywords))
    one = machine.enqueue(X, *ME, "no@b.example", "ok@b.example")
    result = machine.flush()
    result.line(one, "to=<no@b.example>", "status=bounced (550 5.1.1 nobody)")
    result.line(one, "to=<ok@b.example>", "status=deferred")
    assert one in machine.ids("cur")
    server.on = None
    machine.make_due()
    machine.flush()
    assert machine.ids() == []
    assert [each.rcpt_to[0][:12] for each in server.transactions].count(b"RCPT TO:<no@") == 1
    assert len(notices(server)) == 1


def test_a_message_for_nobody_is_not_sent(machine: Machine, smtp_server: Start) -> None:
    """All recipients refused, and DATA answered with 354 all the same: a lone dot, and what it brings is ignored."""
    server = smtp_server(on=but_for_notices(RCPT=b"550 5.1.1 nobody", DATA=b"354 go", **{".": b"250 2.0.0 taken"}))
    machine.relay_to(server)
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    result.line(one, f"to=<{YOU}>", "status=bounced (550 5.1.1 nobody)")
    commands = server.sessions[0].commands
    assert commands[commands.index(b"DATA") + 1] == b"."
    assert server.transactions[0].data == b""
    assert len(notices(server)) == 1


def test_no_notice_about_a_notice_nor_where_none_is_wanted(machine: Machine, smtp_server: Start) -> None:
    """The null sender, and NOTIFY=NEVER: logged, and gone."""  # C-021, C-062
    machine.relay_to(server := smtp_server(replies={"RCPT": b"550 5.1.1 nobody"}))
    one, two = machine.enqueue(X, "-f", "", YOU), machine.enqueue(X, *ME, "-N", "never", YOU)
    result = machine.flush()
    assert machine.ids() == []
    result.line(one, "no notice was sent")
    result.line(two, "no notice was sent")
    assert [each.mail_from[:15] for each in server.transactions].count(b"MAIL FROM:<> SI") == 1


def test_a_reset_comes_between_a_failed_transaction_and_the_next(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(replies={"RCPT TO:<r0@": b"450 4.2.1 x"}), more=ONE_CONNECTION)
    for number in range(2):
        machine.enqueue(X, *ME, f"r{number}@b.example")
    machine.flush()
    verbs = [line.split()[0] for line in server.sessions[0].commands]
    assert verbs == [b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"MAIL", b"RCPT", b"DATA", b"QUIT"]


# Lost connections, and replies that are none.

LOST = {
    "GREETING": "waiting for the greeting",
    "EHLO": "sending EHLO",
    "MAIL": "sending MAIL FROM",
    "RCPT": "sending RCPT TO",
    "DATA": "sending DATA",
    "DOT": "waiting for the reply to the message",
}


@pytest.mark.parametrize("point", [*LOST, "reset MAIL", "reset DOT"])
def test_a_lost_connection_defers_and_says_where(machine: Machine, smtp_server: Start, point: str) -> None:
    """Closed or reset: as if 451; the text names the phase."""
    reset, point = point.startswith("reset"), point.rsplit(maxsplit=1)[-1]
    machine.relay_to(server := smtp_server(replies={point: Action.RESET if reset else Action.CLOSE}))
    one = machine.enqueue(X, *ME, YOU)
    server.replies[b"HELO"] = Action.CLOSE
    result = machine.flush()
    assert_deferred(machine, result, one, "connection lost while " + LOST[point], "dsn=4.4.2")
    assert ("delivered twice" in result.errors) is (point == "DOT")
    assert len(server.sessions) == (2 if point == "EHLO" else 1)  # who hangs up on EHLO is tried with HELO, once: A-012


def test_a_connection_lost_amid_the_message_is_no_doubt(machine: Machine) -> None:
    """Before the final dot went out, nothing can have been taken."""
    with LineServer([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n"]) as server:
        machine.relay_to(server)
        one = machine.enqueue(X + (b"x" * 70 + b"\n") * 100_000, *ME, YOU)
        result = machine.flush()
    assert_deferred(machine, result, one, "connection lost while sending the message")
    assert "twice" not in result.errors


@pytest.mark.parametrize("point", ["GREETING", "DOT"])
def test_silence_has_a_limit_in_each_phase(machine: Machine, smtp_server: Start, point: str) -> None:
    """A time-out defers, and is told apart from a refused connection."""  # C-006
    limits = '[timeouts]\ngreeting = "1s"\ndata_end = "1s"'
    machine.relay_to(smtp_server(replies={point: Action.SILENCE}), more=limits)
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert_deferred(machine, result, one, "timed out while " + LOST[point])
    assert ("delivered twice" in result.errors) is (point == "DOT")


def test_a_dripping_reply_is_cut_off(machine: Machine, smtp_server: Start) -> None:
    """The limit is for the whole reply, not for each octet."""
    drip = Pieces([b"250-x\r\n"] * 2000)
    machine.relay_to(smtp_server(replies={"MAIL": drip}))
    one = machine.enqueue(X, *ME, YOU)
    assert_deferred(machine, machine.flush(), one, "dsn=4.5.0")


def test_half_a_reply_is_no_success(machine: Machine, smtp_server: Start) -> None:
    """`250 2.0.0 ok` without its line end, then the end of the connection: deferred, in doubt."""
    half = Gate()
    machine.relay_to(server := smtp_server(replies={"DOT": Pieces([b"250 2.0.0 ok", half])}))
    one = machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        half.wait_reached()
        server.close()
        assert_deferred(machine, running.wait(), one, LOST["DOT"], "delivered twice")


@pytest.mark.parametrize(
    ("point", "reply"),
    [
        ("GREETING", b"HTTP/1.1 400 Bad Request"),
        ("GREETING", b"600 x"),
        ("EHLO", b"250-a\r\n550 b"),
        ("MAIL", b"250 2.1.0 ok\r\n250 2.1.0 ok"),
        ("DOT", b"250-a\r\n550 b"),
    ],
    ids=["no SMTP", "600", "two codes to EHLO", "two replies to MAIL", "two codes to the message"],
)
def test_what_is_no_reply_ends_the_session_and_defers(machine: Machine, smtp_server: Start, point: str, reply: bytes) -> None:
    """A server that does not speak SMTP decides nothing."""
    machine.relay_to(smtp_server(replies={point: reply}, keywords=("SIZE",)))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert_deferred(machine, result, one, "dsn=4.5.0")


def test_long_and_many_lined_replies_are_read(machine: Machine, smtp_server: Start) -> None:
    """A last line without text, and 4,000 octets in a line."""
    several = b"250-a\r\n250-" + b"x" * 4000 + b"\r\n250"
    replies = {"GREETING": b"220-a\r\n220", **dict.fromkeys(("EHLO", "MAIL", "RCPT", "DOT", "QUIT"), several)}
    machine.relay_to(server := smtp_server(replies=replies))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert len(server.accepted) == 1
    assert machine.ids() == []


@pytest.mark.parametrize("answer", [b"500 what", b"421 bye", Action.CLOSE, Action.RESET], ids=["500", "421", "closed", "reset"])
def test_nothing_about_quit_changes_a_result(machine: Machine, smtp_server: Start, answer: Answer) -> None:
    machine.relay_to(server := smtp_server(replies={"QUIT": answer}))
    machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert len(server.accepted) == 1
    assert machine.ids() == []
    assert "1 sent, 0 deferred" in result.said


def test_what_was_sent_is_not_sent_again_by_whoever_dies_at_quit(machine: Machine, smtp_server: Start) -> None:
    """The verdict stands before we wait for anything else: killed while the server thinks about QUIT."""
    machine.relay_to(server := smtp_server(replies={"RCPT TO:<later@": b"450 4.2.1 full"}), more=ONE_CONNECTION)
    machine.enqueue(X, *ME, YOU)
    both = machine.enqueue(X, *ME, "you2@b.example", "later@b.example")
    gate = server.gate("QUIT")
    with machine.start("flush") as running:
        gate.wait_reached()
        running.process.kill()
        running.wait()
    gate.open()
    server.replies.clear()
    assert machine.ids() == [both]
    machine.flush("--all")
    assert sorted(map(recipients, server.accepted)) == [["later@b.example"], ["you2@b.example"], [YOU]]
    assert machine.ids() == []


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "taken"])
def test_in_doubt_a_message_waits_and_no_other_host_is_tried(machine: Machine, smtp_server: Start, kept: bool) -> None:
    """Lost behind the final dot: a possible duplicate, said as such, and sent again in a later pass only."""
    first = smtp_server(replies={"DOT": Action.KEEP_AND_CLOSE if kept else Action.CLOSE})
    machine.relay_to(first, second := smtp_server())
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert_deferred(machine, result, one, "the server may have taken it, so it may be delivered twice")
    assert "(1 of the deferred may have arrived)" in result.said
    assert (len(first.sessions), second.sessions) == (1, [])
    first.replies.clear()
    machine.make_due()
    machine.flush()
    assert len(first.accepted) == 1 + kept
    assert machine.ids() == []


# The hosts of a relay.

HOST_TROUBLE: dict[str, dict[str, Answer]] = {
    "greets 554": {"GREETING": b"554 no"},
    "greets 521 and closes": {"GREETING": b"521 no", "QUIT": Action.CLOSE},
    "greets 421": {"GREETING": b"421 busy"},
    "closes": {"GREETING": Action.CLOSE},
    "greets in HTTP": {"GREETING": b"HTTP/1.1 400 x"},
    "refuses EHLO and HELO": {"EHLO": b"502 no", "HELO": b"554 no"},
    "ends at EHLO": {"EHLO": b"421 bye"},
}


@pytest.mark.parametrize("trouble", [*HOST_TROUBLE, "unreachable"])
def test_the_next_host_takes_over(machine: Machine, smtp_server: Start, trouble: str) -> None:
    """A host that cannot be used costs no attempt while there is another."""  # B-023
    second = smtp_server()
    if trouble == "unreachable":
        machine.configure(relay(f"smtp://127.0.0.1:{free_port()}", url(second)))
    else:
        machine.relay_to(first := smtp_server(replies=HOST_TROUBLE[trouble]), second)
    machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert len(second.accepted) == 1
    assert machine.ids() == []
    assert "1 sent, 0 deferred, 0 bounced" in result.said
    if trouble == "greets 554":
        assert first.commands == [b"QUIT"]


def test_the_next_host_takes_over_when_sign_in_fails(machine: Machine, smtp_server: Start) -> None:  # A-134, B-023
    first, second = smtp_server(credentials=("me", "other")), smtp_server(credentials=("me", "right"))
    secret = '{ user = "me", secret = "env:SECRET" }'
    machine.configure(relay(url(first, "smtp+notls"), url(second, "smtp+notls"), auth=secret))
    machine.enqueue(X, *ME, YOU)
    machine.flush(env={"SECRET": "right"})
    assert (len(first.accepted), len(second.accepted)) == (0, 1)
    assert machine.ids() == []


def test_hosts_that_are_all_down_defer_and_are_asked_once(machine: Machine, smtp_server: Start) -> None:
    """Ten messages to dead hosts cost one connection to each of them."""  # C-010, A-007
    down = smtp_server(replies={"GREETING": b"421 busy"})
    machine.configure(relay(url(down), f"smtp://127.0.0.1:{free_port()}"), ONE_CONNECTION)
    ids = [machine.enqueue(X, *ME, YOU) for _ in range(10)]
    result = machine.flush()
    assert machine.ids("cur") == ids
    assert len(down.sessions) == 1
    assert sum("status=deferred" in line and "connection refused" in line for line in result.log) == 10


def test_a_server_that_has_enough_is_met_again_and_nobody_waits(machine: Machine, smtp_server: Start) -> None:
    """421 after some messages: a new connection, no attempt lost, nobody deferred."""
    enough: On = lambda point, argument, session: (  # noqa: E731
        b"421 4.7.0 enough" if point == "MAIL" and len(session.transactions) == 2 else None
    )
    machine.relay_to(server := smtp_server(on=enough), more=ONE_CONNECTION)
    for number in range(5):
        machine.enqueue(X, *ME, f"r{number}@b.example")
    result = machine.flush()
    assert [len(session.transactions) for session in server.sessions] == [2, 2, 1]
    assert "5 sent, 0 deferred" in result.said
    assert "status=deferred" not in result.errors


def test_a_server_that_closes_after_each_message_gets_all(machine: Machine, smtp_server: Start) -> None:
    """Closed without a word before the next MAIL: a new connection, nobody deferred."""
    closing: On = lambda point, argument, session: (  # noqa: E731
        Action.CLOSE if point == "MAIL" and session.transactions else None
    )
    machine.relay_to(server := smtp_server(on=closing), more=ONE_CONNECTION)
    for number in range(4):
        machine.enqueue(X, *ME, f"r{number}@b.example")
    result = machine.flush()
    assert len(server.accepted) == 4
    assert len(server.sessions) == 4
    assert "status=deferred" not in result.errors


# Limits.


def test_a_connection_carries_its_share_and_no_more(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(), more=f"{ONE_CONNECTION}\nmax_messages_per_connection = 2")
    for number in range(5):
        machine.enqueue(X, *ME, f"r{number}@b.example")
    machine.flush()
    assert [len(session.transactions) for session in server.sessions] == [2, 2, 1]
    assert server.peak_connections == 1
    assert all(session.commands[-1] == b"QUIT" for session in server.sessions)


def test_a_hundred_messages_arrive_once_each_within_the_limits(machine: Machine, smtp_server: Start) -> None:
    """No more connections to a host than `max_connections_per_host`, and as many where they are of use."""
    server = smtp_server()
    more = "[limits]\nmax_connections_per_host = 2\nmax_messages_per_connection = 20"
    machine.relay_to(server, more=more)
    gate = server.gate("DATA")
    ids = [machine.enqueue(X, *ME, f"r{number:03}@b.example") for number in range(100)]
    with machine.start("flush") as running:
        gate.wait_reached()
        server.wait_for(lambda: server.open_connections == 2)
        gate.open()
        result = running.wait()
    assert sorted(recipients(each)[0] for each in server.accepted) == [f"r{number:03}@b.example" for number in range(100)]
    assert server.peak_connections == 2
    assert max(len(session.transactions) for session in server.sessions) == 20
    assert sorted(line.split(":")[0] for line in result.log if line.endswith(": removed")) == ids
    assert "100 sent, 0 deferred, 0 bounced; 0 messages waiting" in result.said


def test_connections_to_all_hosts_together_are_bounded(machine: Machine, smtp_server: Start) -> None:
    """`max_connections = 1`: a second relay is met after the first has been left."""
    before: list[bool] = []
    servers: list[ScriptedServer] = []

    def on(point: str, argument: bytes, session: Session) -> Answer | None:
        if point == "GREETING":
            others = [each for server in servers for each in server.sessions if each is not session]
            before.extend(b"QUIT" in each.commands for each in others)
        return None

    servers += [smtp_server(on=on), smtp_server(on=on)]
    machine.configure(
        relay(url(servers[0]), recipient='["*@b.example"]'), relay(url(servers[1]), recipient='["*"]'), ONE_CONNECTION
    )
    for domain in ("b.example", "c.example"):
        machine.enqueue(X, *ME, f"r@{domain}")
    machine.flush()
    assert [len(server.accepted) for server in servers] == [1, 1]
    assert before == [True]


def test_many_recipients_go_in_chunks(machine: Machine, smtp_server: Start) -> None:
    """250 recipients: 100, 100 and 50, in one session, each once, with the same text."""
    machine.relay_to(server := smtp_server())
    everybody = [f"r{number:03}@b.example" for number in range(250)]
    one = machine.enqueue(X, *ME, *everybody)
    result = machine.flush()
    assert [len(each.rcpt_to) for each in server.accepted] == [100, 100, 50]
    assert [address for each in server.accepted for address in recipients(each)] == everybody
    assert len({each.data for each in server.accepted}) == 1
    assert len(server.sessions) == 1
    assert sum("status=sent" in line for line in result.log) == 250
    assert result.log.count(f"{one}: removed") == 1
    assert machine.ids() == []


def test_a_chunk_that_is_deferred_leaves_the_others_delivered(machine: Machine, smtp_server: Start) -> None:
    """Of 150 recipients the second chunk is put off: those 50 alone go in the next pass."""
    later: On = lambda point, argument, session: (  # noqa: E731
        b"451 4.3.0 later" if point == "DOT" and len(session.transactions) == 2 else None
    )
    machine.relay_to(server := smtp_server(on=later))
    machine.enqueue(X, *ME, *(f"r{number:03}@b.example" for number in range(150)))
    machine.flush()
    machine.make_due()
    machine.flush()
    assert [len(each.rcpt_to) for each in server.accepted] == [100, 50]
    assert machine.ids() == []


# Which relay.


def test_the_first_rule_that_matches_sender_and_recipient_wins(machine: Machine, smtp_server: Start) -> None:
    servers = {name: smtp_server() for name in ("ours", "special", "rest")}
    machine.configure(
        relay(url(servers["ours"]), sender='["*@Ours.example"]', recipient='["*@one.example", "*@two.example"]'),
        relay(url(servers["special"]), recipient='["*@two.example"]'),
        relay(url(servers["rest"])),
    )
    machine.enqueue(X, "-f", "me@ours.example", "r@one.example", "r@TWO.example", "r@three.example")
    machine.enqueue(X, *ME, "r@one.example", "r@two.example")
    machine.flush()
    found = {name: sorted(map(recipients, server.accepted)) for name, server in servers.items()}
    assert found == {
        "ours": [["r@one.example", "r@TWO.example"]],
        "special": [["r@two.example"]],
        "rest": [["r@one.example"], ["r@three.example"]],
    }
    assert machine.ids() == []


def test_mail_that_no_rule_matches_waits_and_the_rest_goes(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(), recipient='["*@b.example"]')
    one = machine.enqueue(X, *ME, YOU, "other@c.example")
    result = machine.flush()
    assert recipients(server.accepted[0]) == [YOU]
    assert_deferred(machine, result, one, "no [[relay]] rule", to="other@c.example")


def test_a_configuration_that_has_changed_holds_for_queued_mail(machine: Machine, smtp_server: Start) -> None:
    """Rules are looked up at each attempt."""
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}"))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    machine.relay_to(server := smtp_server())
    machine.make_due()
    machine.flush()
    assert len(server.accepted) == 1


def test_a_hung_relay_delays_nobody_else(machine: Machine, smtp_server: Start) -> None:
    """Recipients of one message at two relays, and mail that comes in meanwhile: only the hung relay's own mail waits."""
    hung, quick = smtp_server(), smtp_server()
    gate = hung.gate("DATA")
    machine.configure(relay(url(hung), recipient='["*@hung.example"]'), relay(url(quick)))
    both = machine.enqueue(X, *ME, "a@hung.example", "a@quick.example")
    with machine.start("flush") as running:
        gate.wait_reached()
        quick.wait_for(lambda: len(quick.accepted) == 1)
        machine.enqueue(X, *ME, "b@quick.example", "b@hung.example")
        quick.wait_for(lambda: len(quick.accepted) == 2)
        assert hung.accepted == []
        assert both in machine.ids("cur")
        gate.open()
        result = running.wait()
    assert [recipients(each) for each in quick.accepted] == [["a@quick.example"], ["b@quick.example"]]
    assert sorted(map(recipients, hung.accepted)) == [["a@hung.example"], ["b@hung.example"]]
    assert machine.ids() == []
    assert "4 sent, 0 deferred" in result.said


def test_mail_that_comes_in_during_a_pass_is_taken_along(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server())
    gate = server.gate("DATA")
    machine.enqueue(X, *ME, "a@b.example")
    with machine.start("flush") as running:
        gate.wait_reached()
        machine.enqueue(X, *ME, "b@b.example")
        gate.open()
        running.wait()
    assert sorted(map(recipients, server.accepted)) == [["a@b.example"], ["b@b.example"]]
    assert machine.ids() == []


def test_without_a_relay_mail_is_kept_and_the_pass_says_so(machine: Machine) -> None:
    """Nothing is sprayed at the world."""
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush(code=78)
    assert machine.ids("cur") == [one]
    assert "no relay is configured, so 1 message is kept" in result.said
    assert machine.config in result.said


def test_a_relay_url_in_the_environment_stands_over_the_file(machine: Machine, smtp_server: Start) -> None:
    """`$SMARTRELAY_RELAY` with user and password, percent-encoded."""
    unused, server = smtp_server(), smtp_server(credentials=("me@a.example", "p:w/ä %"))
    machine.relay_to(unused)
    machine.enqueue(X, *ME, YOU)
    relay_url = url(server, "smtp+notls", "me%40a.example:p%3Aw%2F%C3%A4%20%25@")
    result = machine.flush(env={"SMARTRELAY_RELAY": relay_url})
    assert server.sessions[0].user == "me@a.example"
    assert (len(server.accepted), unused.sessions) == (1, [])
    assert "p:w" not in result.errors
    assert "p%3Aw" not in result.errors


# What is said to servers that know little.


def test_plain_smtp_is_helo_and_no_extension(machine: Machine, smtp_server: Start) -> None:
    """`protocol = "smtp"`: HELO, one command at a time, no parameters, 8-bit text encoded."""
    machine.relay_to(server := smtp_server(), protocol='"smtp"')
    machine.enqueue("Subject: x\n\nä\n".encode(), *ME, "-N", "failure", "-V", "id", YOU)
    machine.flush()
    assert server.commands == [
        f"HELO {HOSTNAME}".encode(),
        b"MAIL FROM:<me@a.example>",
        b"RCPT TO:<you@b.example>",
        b"DATA",
        b"QUIT",
    ]
    said = [text for who, text in server.sessions[0].transcript if who == "C"]
    assert said[:3] == [line + b"\r\n" for line in server.commands[:3]]
    assert server.accepted[0].content.isascii()


@pytest.mark.parametrize("code", [500, 502, 550])
def test_a_server_without_ehlo_gets_helo(machine: Machine, smtp_server: Start, code: int) -> None:
    """On the same connection, and then no parameters."""
    machine.relay_to(server := smtp_server(replies={"EHLO": b"%d no" % code}))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert server.commands[:3] == [f"EHLO {HOSTNAME}".encode(), f"HELO {HOSTNAME}".encode(), b"MAIL FROM:<me@a.example>"]
    assert len(server.sessions) == 1
    assert len(server.accepted) == 1


def test_a_host_name_without_a_dot_is_replaced_by_an_address(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server())
    machine.enqueue(X, *ME, YOU)
    machine.flush(env={"SMARTRELAY_HOSTNAME": "box"})
    assert server.commands[0] == b"EHLO [127.0.0.1]"


def test_nothing_is_pipelined_unless_it_is_offered(machine: Machine, smtp_server: Start) -> None:
    """Without PIPELINING one command at a time; with it the whole envelope in one write."""
    for offered in (False, True):
        machine.relay_to(server := smtp_server(keywords=("PIPELINING",) if offered else ()))
        machine.enqueue(X, *ME, YOU, "other@b.example")
        machine.flush()
        said = [text for who, text in server.sessions[0].transcript if who == "C"]
        envelope = [
            b"MAIL FROM:<me@a.example>\r\n",
            b"RCPT TO:<you@b.example>\r\n",
            b"RCPT TO:<other@b.example>\r\n",
            b"DATA\r\n",
        ]
        assert said[1:-2] == ([b"".join(envelope)] if offered else envelope)


def test_extensions_are_known_whatever_their_letters(machine: Machine, smtp_server: Start) -> None:
    """Keywords in any case count; unknown ones, and numbers that are none, are no trouble."""
    machine.relay_to(server := smtp_server(keywords=("size foo", "PipeLining", "X-FOO a=b", "", "8bitmime", "dsn")))
    machine.enqueue("Subject: x\n\nä\n".encode(), *ME, "-V", "a+b c", "-R", "hdrs", "-N", "failure,delay", YOU)
    machine.flush()
    (mail,) = server.accepted
    assert mail.mail_from.startswith(b"MAIL FROM:<me@a.example> SIZE=")
    assert mail.mail_from.endswith(b" BODY=8BITMIME RET=HDRS ENVID=a+2Bb+20c")
    assert mail.rcpt_to == [b"RCPT TO:<you@b.example> NOTIFY=FAILURE,DELAY"]


def test_a_message_over_the_servers_limit_is_not_offered(machine: Machine, smtp_server: Start) -> None:
    """Fails 5.3.4 with both sizes, without MAIL; one octet less and it goes."""
    body = b"x" * 4000 + b"\n"
    machine.relay_to(first := smtp_server(keywords=("SIZE",)))
    machine.enqueue(X + body * 2, *ME, YOU)
    machine.flush()
    size = int(first.accepted[0].mail_from.partition(b"SIZE=")[2])
    assert size == len(first.accepted[0].content)
    for limit in (size - 1, size):
        machine.relay_to(server := smtp_server(keywords=(f"SIZE {limit}",)))
        one = machine.enqueue(X + body * 2, *ME, YOU)
        result = machine.flush()
        if limit == size:
            assert len(server.accepted) == 1
        else:
            line = result.line(one, "dsn=5.3.4, status=bounced")
            assert str(size) in line
            assert str(limit) in line
            assert [line.split(b" ")[1][:9] for line in server.commands if line.startswith(b"MAIL")] == [b"FROM:<>"]
            (notice,) = notices(server)
            group = status_groups(notice)[1]
            assert group["Status"] == "5.3.4"
            assert group["Diagnostic-Code"].startswith("x-smartrelay;")
            assert "Remote-MTA" not in group
        assert machine.ids() == []


def test_the_pass_tells_what_it_did(machine: Machine, smtp_server: Start) -> None:
    """The log's lines for a message, in Postfix's words and order."""
    machine.relay_to(server := smtp_server())
    one = machine.enqueue(b"Message-ID: <1@a.example>\n" + X, *ME, YOU)
    log = machine.flush().log
    patterns: list[Any] = [
        "uid=",
        "message-id=<1@a.example>",
        f"from=<me@a.example>, size={len(server.accepted[0].content)}, nrcpt=1 (queue active)",
        f"to=<you@b.example>, relay=127.0.0.1[127.0.0.1]:{server.port}, delay=",
        "removed",
    ]
    for line, pattern in zip(log, patterns, strict=False):
        assert line.startswith(f"{one}: {pattern}")
