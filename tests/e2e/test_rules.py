"""`[[relay]]` rules: which rule is whose, in which order hosts are tried, what each rule may say of its own."""

from collections.abc import Callable

import pytest

from tests.e2e.commands import Machine, relay
from tests.support.certificates import Certificates
from tests.support.exchangers import Exchangers
from tests.support.place import recipients
from tests.support.process import free_port
from tests.support.smtp_server import ScriptedServer, Session

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
UNWANTED = b"550 5.7.1 you may not send as that"


def url(server: ScriptedServer | int, address: str = "127.0.0.1") -> str:
    return f"smtp://{address}:{server if isinstance(server, int) else server.port}"


def senders(server: ScriptedServer) -> list[str]:
    """From whom it took mail."""
    return sorted(each.mail_from.decode().partition("<")[2].partition(">")[0] for each in server.accepted)


# Whose rule


def test_a_notice_takes_the_way_of_its_addressees_own_mail(machine: Machine, smtp_server: Start) -> None:
    """Rules by sender: the null sender's is that of the notice's recipient, which is whom this relay lets through."""
    ours, others = smtp_server(replies={"RCPT TO:<no@": b"550 5.1.1 no"}), smtp_server()
    machine.configure(relay(url(others), sender='["*@other.example"]'), relay(url(ours), sender='["*@a.example"]'))
    machine.enqueue(X, *ME, "no@b.example")
    machine.flush()
    assert recipients(ours) == ["me@a.example"] and senders(ours) == [""]
    assert others.sessions == [] and machine.ids() == []


def test_rules_are_looked_up_at_each_attempt(machine: Machine, smtp_server: Start) -> None:
    """By sender and recipient as they are now: what no rule was for, or another's, goes where today's rules say."""
    first, second = smtp_server(replies={"RCPT": b"450 4.2.0 later"}), smtp_server()
    machine.configure(relay(url(first), sender='["ME@a.example"]'))
    machine.enqueue(X, *ME, YOU)
    machine.enqueue(X, "-f", "you@a.example", YOU)
    result = machine.flush()
    assert "no [[relay]] rule" in result.errors and len(first.transactions) == 1
    machine.configure(relay(url(second), sender='["*@a.example"]', recipient='["*@B.example"]'))
    machine.make_due()
    machine.flush()
    assert recipients(second) == [YOU, YOU] and len(first.transactions) == 1


# Hosts in order, and equals


def test_of_equals_each_comes_first_now_and_then_and_all_come_before_the_next(machine: Machine, smtp_server: Start) -> None:
    a, b, c = smtp_server(), smtp_server(), smtp_server()
    machine.configure(f'[[relay]]\nhosts = [["{url(a)}", "{url(b)}"], "{url(c)}"]')
    while not (a.accepted and b.accepted) and len(a.accepted) + len(b.accepted) < 60:
        machine.enqueue(X, *ME, YOU)
        machine.flush()
    assert a.accepted and b.accepted and c.sessions == []
    a.replies[b"GREETING"] = b.replies[b"GREETING"] = b"421 4.3.2 no"
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert len(c.accepted) == 1


def test_a_host_is_not_tried_twice_in_a_pass(machine: Machine, smtp_server: Start) -> None:
    """However often it is written down, and whatever comes in meanwhile."""
    down, slow = smtp_server(replies={"GREETING": b"421 4.3.2 no"}), smtp_server()
    gate = slow.gate("GREETING")
    hosts = [url(down), url(down), f"smtp+notls://127.0.0.1:{down.port}"]
    machine.configure(relay(url(slow), recipient='["*@slow.example"]'), relay(*hosts))
    machine.enqueue(X, *ME, YOU, "you@slow.example")
    with machine.start("flush", "--all") as running:
        running.wait_for_error("status=deferred (421")
        gate.wait_reached()
        machine.enqueue(X, *ME, YOU)
        running.wait_for_error("status=deferred (421", times=2)
        gate.open()
        assert running.wait().code == 0
    assert len(down.sessions) == 1


# A sender whom one host does not want


@pytest.mark.parametrize("point", ["MAIL", "RCPT"])
@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
def test_a_sender_whom_a_host_does_not_want_is_offered_to_the_next(
    machine: Machine, smtp_server: Start, point: str, keywords: tuple[str, ...]
) -> None:
    """That message alone, in the same pass; all others stay with the first, and nothing is remembered."""

    def on(at: str, argument: bytes, session: Session) -> bytes | None:
        return UNWANTED if at == point and b"<bad" in session.commands[-1 if at == "MAIL" else -2] else None

    first, second = smtp_server(on=on, keywords=keywords), smtp_server()
    if keywords and point == "RCPT":
        first.on = None
        first.replies[b"RCPT TO:<QUOTA@"] = UNWANTED
    machine.configure(relay(url(first), url(second)), "[limits]\nmax_connections_per_host = 1")
    for number in range(2):
        to = ["quota@b.example"] if point == "RCPT" else []
        machine.enqueue(X, "-f", "bad@a.example", *(to or [YOU]))
        machine.enqueue(X, "-f", f"good{number}@a.example", YOU)
    result = machine.flush()
    assert senders(first) == ["good0@a.example", "good1@a.example"]
    assert senders(second) == ["bad@a.example"] * 2
    assert machine.ids() == [] and "status=bounced" not in result.errors and "status=deferred" not in result.errors
    assert machine.run("hosts", "list").output == b""
    machine.enqueue(X, "-f", "bad@a.example", "quota@b.example")
    before = len(first.sessions)
    machine.flush()
    assert len(first.sessions) == before + 1 and len(second.accepted) == 3


def test_of_several_recipients_only_those_go_elsewhere_that_were_not_wanted(machine: Machine, smtp_server: Start) -> None:
    first, second = smtp_server(replies={"RCPT TO:<quota@": UNWANTED, "RCPT TO:<gone@": b"550 5.1.1 no"}), smtp_server()
    machine.configure(relay(url(first), url(second)))
    machine.enqueue(X, *ME, YOU, "quota@b.example", "gone@b.example")
    machine.flush()
    assert recipients(second) == ["quota@b.example"]
    assert recipients(first) == ["me@a.example", YOU]  # the notice about the one who is gone
    assert machine.ids() == []


def test_when_the_last_host_says_so_too_it_fails_with_what_that_one_said(machine: Machine, smtp_server: Start) -> None:
    first = smtp_server(replies={"MAIL FROM:<me@": b"550 5.7.1 first"})
    second = smtp_server(replies={"MAIL FROM:<me@": b"550 5.7.1 second"})
    machine.configure(relay(url(first), url(second)))
    machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert "dsn=5.7.1, status=bounced (550 5.7.1 second)" in result.line("to=<you@b.example>")
    assert recipients(first) == ["me@a.example"]  # the notice is from nobody, whom the first host does not refuse
    assert machine.ids() == []


def test_it_waits_where_the_next_host_is_down(machine: Machine, smtp_server: Start) -> None:
    """And it begins with the first again when its time has come."""
    first = smtp_server(replies={"MAIL FROM:<me@": UNWANTED})
    machine.configure(relay(url(first), url(free_port())))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert "status=deferred (connect to 127.0.0.1" in result.line("to=<you@b.example>")
    first.replies.clear()
    machine.make_due(one)
    machine.flush()
    assert recipients(first) == [YOU]


def test_530_is_our_accounts_trouble_and_bounces_nothing(machine: Machine, smtp_server: Start) -> None:
    """It is said once, and the rest of the mail is not offered to this host again and again; the next one gets it."""
    first = smtp_server(replies={"MAIL": b"530 5.7.0 authentication required"})
    machine.configure(relay(url(first)), "[limits]\nmax_connections_per_host = 1")
    for _ in range(5):
        machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert len([line for line in result.log if "dsn=4.7.0, status=deferred (530" in line]) == 5
    assert result.said.count("relay relay1 cannot be used: 530 5.7.0 authentication required") == 1
    assert len([line for line in first.commands if line.startswith(b"MAIL")]) <= 2
    second = smtp_server()
    machine.configure(relay(url(first), url(second)))
    machine.make_due()
    machine.flush()
    assert len(second.accepted) >= 3 and len(machine.ids()) == 5 - len(second.accepted)


@pytest.mark.parametrize("point", ["DATA", "DOT"])
def test_a_no_to_the_text_is_final_whatever_its_code(machine: Machine, smtp_server: Start, point: str) -> None:
    first, second = smtp_server(replies={point: b"554 5.7.1 spam"}), smtp_server()
    machine.configure(relay(url(first), url(second)))
    machine.enqueue(X, *ME, "-N", "never", YOU)
    machine.flush()
    assert second.sessions == [] and machine.ids() == []


# What a rule says of its own


def test_each_rule_has_its_port_source_and_protocol(machine: Machine, smtp_server: Start) -> None:
    plain, full = smtp_server(), smtp_server()
    machine.configure(
        relay(
            "smtp://127.0.0.1", recipient='["*@plain.example"]', port=str(plain.port), source_address='"127.0.0.7"',
            protocol='"smtp"',
        ),
        relay("smtp://127.0.0.1", port=str(full.port)),
    )  # fmt: skip
    machine.enqueue(X, *ME, "u@plain.example", YOU)
    machine.flush()
    assert [session.peer for session in plain.sessions] == ["127.0.0.7"]
    assert [session.peer for session in full.sessions] == ["127.0.0.1"]
    assert plain.commands[0].startswith(b"HELO ") and full.commands[0].startswith(b"EHLO ")


def test_a_rule_has_no_more_connections_than_it_says(machine: Machine, exchangers: Exchangers) -> None:
    """Over all the hosts and domains that it sends to; another rule is not held up."""
    servers = [exchangers.start(f"d{number}.example", number) for number in range(2, 6)]
    machine.configure(
        relay("mx", recipient='["*@d2.example", "*@d3.example", "*@d4.example"]', max_connections="1"),
        relay("mx"),
        exchangers.table,
    )
    gate = servers[0].gate("GREETING")
    machine.enqueue(X, *ME, *(f"u@d{number}.example" for number in range(2, 6)))
    with machine.start("flush") as running:
        gate.wait_reached()
        servers[3].wait_for(lambda: servers[3].accepted)
        assert sum(len(server.sessions) for server in servers[:3]) == 1
        gate.open()
        assert running.wait().code == 0
    assert [len(server.accepted) for server in servers] == [1, 1, 1, 1]


# The exchangers of a relay's own name


def test_a_relay_can_be_the_exchangers_of_its_name(machine: Machine, exchangers: Exchangers) -> None:
    """By preference, whatever the recipient's domain is; who refuses all of us is no reason to bounce."""
    best, other = exchangers.start("a.relay.example", 2), exchangers.start("b.relay.example", 3)
    exchangers.mx("relay.example", "a.relay.example", "b.relay.example")
    machine.configure(relay(f"mx+smtp://relay.example:{exchangers.port}"), exchangers.table)
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert recipients(best) == [YOU] and exchangers.dns.log[0] == "relay.example MX"
    for server in (best, other):
        server.replies[b"GREETING"] = b"554 5.7.1 on a list"
    machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    assert "dsn=4.7.1, status=deferred (554 5.7.1 on a list)" in result.line("to=<you@b.example>")


def test_where_its_certificate_counts_an_exchanger_must_be_below_its_name(
    machine: Machine, exchangers: Exchangers, certificates: Certificates
) -> None:
    """The DNS that names the exchangers may be forged; a certificate for a name that it made up proves nothing."""
    server = exchangers.start("relay.example.test", 2, certificate=certificates.server)
    stranger = exchangers.start("elsewhere.example", 3, certificate=certificates.server)
    exchangers.zone["example.test"] = ["MX 10 elsewhere.example", "MX 20 relay.example.test"]
    exchangers.mx("forged.test", "elsewhere.example")
    for name in ("example.test", "forged.test"):
        hosts = f"mx+smtp+tls://{name}:{exchangers.port}"
        machine.configure(relay(hosts, ca_file=f'"{certificates.ca_file}"'), exchangers.table)
        machine.enqueue(X, *ME, YOU)
        result = machine.flush()
        if name == "example.test":
            assert recipients(server) == [YOU] and server.sessions[0].tls
    assert stranger.sessions == []
    line = result.line("to=<you@b.example>")
    assert "dsn=4.7.5, status=deferred (no mail exchanger of forged.test has a name below forged.test" in line
