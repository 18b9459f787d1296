"""The envelope: which parameters go to which server, and what the answers to it mean for each recipient."""

from email import message_from_bytes
from itertools import combinations
from typing import Any

import pytest

from smartrelay.mail.international import NoSuchDomainName, a_label_path, a_labels
from smartrelay.relay.blame import judge
from smartrelay.smtp import content
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from smartrelay.smtp.transaction import Flight, Transaction, prepare
from tests.smtp.scene import R1, R2, R3, TEXT, message

EIGHT = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n".encode()
WISHES: dict[str, Any] = {"notify": "NEVER", "orcpt": "rfc822;Foo+2Bbar@B.example", "ret": "HDRS", "envid": "abc d+e=f"}
OCTETS = len(TEXT) + TEXT.count(b"\n")


def prepared(wanted: Transaction, *offered: str) -> Flight:
    pairs = (keyword.partition(" ") for keyword in offered)
    return prepare(wanted, range(len(wanted.recipients)), {name: value for name, _, value in pairs})


def lines(flight: Flight) -> list[str]:
    return [line.decode().removesuffix("\r\n") for _, line in flight.lines()]


def parameters(flight: Flight) -> set[str]:
    return {word.partition("=")[0] for line in lines(flight) for word in line.split(" ")[2:]}


# Parameters

SAID = {
    "SIZE": {"SIZE"},
    "8BITMIME": {"BODY"},
    "SMTPUTF8": {"SMTPUTF8"},
    "DSN": {"RET", "ENVID", "NOTIFY", "ORCPT"},
    "AUTH PLAIN": set(),  # AUTH= is never sent
    "REQUIRETLS": set(),
    "CHUNKING": set(),
    "BINARYMIME": set(),
    "X-FOO a=b": set(),
}


@pytest.mark.parametrize("offered", [each for count in (0, 1, 2, 9) for each in combinations(SAID, count)])
def test_no_parameter_is_said_that_was_not_offered_and_each_that_was_and_is_of_use(offered: tuple[str, ...]) -> None:
    # A-014 A-093 A-105 A-110 A-111 A-112 A-113 A-137 G-009
    wanted = message([R1, "jörg@b.example"], "s@a.example", EIGHT, **WISHES)
    assert parameters(prepared(wanted, *offered)) == {name for keyword in offered for name in SAID[keyword]}


def test_plain_mail_has_no_parameters_but_its_size() -> None:  # A-096 A-097 A-110 A-111
    everything = ("SIZE", "8BITMIME", "SMTPUTF8", "DSN")
    assert lines(prepared(message(), *everything)) == [
        f"MAIL FROM:<s@a.example> SIZE={OCTETS}",
        "RCPT TO:<r1@b.example>",
        "RCPT TO:<r2@b.example>",
    ]


def test_what_was_asked_for_is_passed_on_unchanged() -> None:  # A-110 A-111 A-112
    flight = prepared(message([R1], **WISHES), "DSN")
    assert lines(flight) == [
        "MAIL FROM:<s@a.example> RET=HDRS ENVID=abc+20d+2Be+3Df",
        "RCPT TO:<r1@b.example> NOTIFY=NEVER ORCPT=rfc822;Foo+2Bbar@B.example",
    ]


def test_a_wish_is_one_recipients_own() -> None:
    wanted = message([R1, R2])
    wanted.recipients[0] = (R1, "SUCCESS,FAILURE", "")
    assert lines(prepared(wanted, "DSN"))[1:] == ["RCPT TO:<r1@b.example> NOTIFY=SUCCESS,FAILURE", "RCPT TO:<r2@b.example>"]


def test_a_notice_asks_for_no_text_back() -> None:  # A-040 A-114
    flight = prepared(message([R1], sender="", ret="FULL", envid="x", notify="NEVER"), "DSN", "SIZE")
    assert lines(flight) == [f"MAIL FROM:<> SIZE={OCTETS}", "RCPT TO:<r1@b.example> NOTIFY=NEVER"]


def test_local_parts_go_as_they_are() -> None:  # A-041 A-042 A-043 A-047
    for path in ("John.DOE@B.example", '"john doe"@b.example', '"a\\"b\\\\c"@b.example', "x" * 65 + "@b.example"):
        assert lines(prepared(message([path], sender=path))) == [f"MAIL FROM:<{path}>", f"RCPT TO:<{path}>"]


# SIZE


@pytest.mark.parametrize(
    ("text", "octets"),
    [(b"a\nb\nc\n", 9), (b".\n..\n", 7), (b"a", 3), (b"a\n\n", 5), (b"a\r\nb\n", 7)],
)
def test_the_size_is_that_of_the_wire_without_stuffing(text: bytes, octets: int) -> None:  # A-090 G-018
    flight = prepared(message([R1], text=text), "SIZE 1000")
    assert lines(flight)[0].endswith(f" SIZE={octets}")
    assert sum(map(len, flight.content.canonical())) == octets


def test_the_size_is_that_after_re_encoding() -> None:  # A-090 A-093
    flight = prepared(message([R1], text=EIGHT), "SIZE")
    body = b"".join(flight.content.canonical())
    assert body.isascii() and lines(flight)[0] == f"MAIL FROM:<s@a.example> SIZE={len(body)}"


@pytest.mark.parametrize("limit", ["", "0", "00", "foo", "-5", "1 2", str(OCTETS), "99999999999999999999999"])
def test_a_limit_that_is_none_or_is_kept_stops_nothing(limit: str) -> None:  # A-091 G-017
    assert parameters(prepared(message(), f"SIZE {limit}")) == {"SIZE"}


def test_a_message_over_the_limit_is_not_sent_and_both_sizes_are_named() -> None:
    with pytest.raises(content.NotSendable) as caught:
        prepared(message(), f"SIZE {OCTETS - 1}")
    assert caught.value.dsn == "5.3.4"
    assert str(OCTETS) in caught.value.reason and str(OCTETS - 1) in caught.value.reason


# 8 bits and other alphabets


def test_eight_bits_are_announced_where_they_go_and_encoded_elsewhere() -> None:  # A-093 A-096 G-040
    there = prepared(message([R1], text=EIGHT), "8BITMIME")
    assert lines(there)[0] == "MAIL FROM:<s@a.example> BODY=8BITMIME"
    assert b"".join(there.content.canonical()) == EIGHT.replace(b"\n", b"\r\n")
    elsewhere = b"".join(prepared(message([R1], text=EIGHT)).content.canonical())
    assert elsewhere.isascii()
    assert message_from_bytes(elsewhere).get_payload(decode=True) == "Grüße\r\n".encode()


@pytest.mark.parametrize("offered", [(), ("8BITMIME",), ("SMTPUTF8",), ("8BITMIME", "SMTPUTF8")])
def test_a_header_in_raw_utf8_is_sent_to_nobody_without_smtputf8(offered: tuple[str, ...]) -> None:  # A-097 A-098 A-100
    flight = prepared(message([R1], text="Subject: Grüße\n\nx\n".encode()), *offered)
    header = b"".join(flight.content.canonical()).partition(b"\r\n\r\n")[0]
    assert header.isascii() or "SMTPUTF8" in parameters(flight)


ADDRESSED = "From: Jörg <jörg@a.example>\nSubject: Grüße\nTo: r1@b.example\n\nx\n".encode()


@pytest.mark.parametrize("offered", [("SMTPUTF8",), ("8BITMIME", "SMTPUTF8")])
def test_an_address_in_the_header_that_needs_smtputf8_gets_it(offered: tuple[str, ...]) -> None:  # A-097 A-100
    """Only its field stays raw: what can be encoded is."""
    flight = prepared(message([R1], text=ADDRESSED), *offered)
    assert "SMTPUTF8" in parameters(flight)
    fields = b"".join(flight.content.canonical()).decode().split("\r\n")
    assert "From: Jörg <jörg@a.example>" in fields and "To: r1@b.example" in fields
    assert all(field.isascii() for field in fields if not field.startswith("From:"))


@pytest.mark.parametrize(
    ("text", "offered"),
    [(ADDRESSED, ("8BITMIME",)), (ADDRESSED, ()), (b"From: <\xff@a.example>\n\nx\n", ("8BITMIME", "SMTPUTF8"))],
)
def test_such_an_address_goes_nowhere_else(text: bytes, offered: tuple[str, ...]) -> None:
    """Nor does one that is in no known charset."""
    with pytest.raises(content.NotSendable) as caught:
        prepared(message([R1], text=text), *offered)
    assert caught.value.dsn == "5.6.7"


def test_smtputf8_without_8bitmime_loses_no_mail() -> None:
    flight = prepared(message(["jörg@b.example"], text=EIGHT), "SMTPUTF8")
    assert lines(flight) == ["MAIL FROM:<s@a.example> SMTPUTF8", "RCPT TO:<jörg@b.example>"]
    assert b"".join(flight.content.canonical()).isascii()


@pytest.mark.parametrize(
    ("domain", "labels"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2008, not "fass"
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("mail.例え.テスト", "mail.xn--r8jz45g.xn--zckzah"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("B.Example", "B.Example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_a_domain_in_a_labels(domain: str, labels: str) -> None:  # A-099 G-045
    assert a_labels(domain) == labels
    assert a_label_path(f"joe@{domain}") == f"joe@{labels}"
    assert a_label_path(f'"a@é"@{domain}') == f'"a@é"@{labels}'


@pytest.mark.parametrize(
    "domain", ["ü\u2028.example", "\u0378.example", "ü..example", "é" * 64 + ".example", "-ü.example", "ü@.x"]
)
def test_what_can_be_no_domain_says_so(domain: str) -> None:
    with pytest.raises(NoSuchDomainName):
        a_labels(domain)


@pytest.mark.parametrize("offered", [(), ("SMTPUTF8", "8BITMIME")])
def test_a_domain_alone_needs_no_smtputf8(offered: tuple[str, ...]) -> None:  # A-097 A-099
    flight = prepared(message(["joe@bücher.example", "joe@faß.example"], sender="me@bücher.example"), *offered)
    assert lines(flight) == [
        "MAIL FROM:<me@xn--bcher-kva.example>",
        "RCPT TO:<joe@xn--bcher-kva.example>",
        "RCPT TO:<joe@xn--fa-hia.example>",
    ]


def test_a_local_part_needs_it_for_the_whole_transaction() -> None:
    flight = prepared(message([R1, "jörg@bücher.example"]), "SMTPUTF8")
    assert lines(flight) == [
        "MAIL FROM:<s@a.example> SMTPUTF8",
        "RCPT TO:<r1@b.example>",
        "RCPT TO:<jörg@xn--bcher-kva.example>",
    ]
    assert parameters(prepared(message([R1]), "SMTPUTF8")) == set()  # G-010


def test_who_cannot_be_named_there_fails_alone() -> None:
    flight = prepared(message([R1, "jörg@b.example", R2, "x@ü\u0378.example"]))
    assert [line for line in lines(flight) if line.startswith("RCPT")] == ["RCPT TO:<r1@b.example>", "RCPT TO:<r2@b.example>"]
    assert {index: (answer.trouble, answer.text[:6]) for index, answer in flight.answers.items()} == {
        1: (Trouble.CONTENT, "5.6.7 "),
        3: (Trouble.CONTENT, "5.1.2 "),
    }
    assert [judge(answer, "h").status.dsn for answer in flight.answers.values()] == ["5.6.7", "5.1.2"]


def test_a_sender_that_cannot_be_named_fails_the_message() -> None:
    with pytest.raises(content.NotSendable) as caught:
        prepared(message([R1], sender="jörg@b.example"))
    assert caught.value.dsn == "5.6.7"


# What the answers mean


def reply(phase: Phase, said: str) -> Answer:
    code, _, text = said.partition(" ")
    return Answer(phase, Reply(int(code), (text,)))


def flown(mail: str, *rcpt: str, end: str = "250 2.0.0 ok") -> tuple[dict[int, str], list[int]]:
    """The verdicts by recipient (reply code), and who goes into the next transaction."""
    flight = prepared(message([f"r{number}@b.example" for number in range(len(rcpt))]))
    flight.take(reply(Phase.MAIL, mail))
    for each in rcpt:
        flight.take(reply(Phase.RCPT, each))
    found = flight.end(reply(Phase.END, end))
    return {
        index: f"{answer.phase.name} {answer.reply.code}" for index, answer in found.items() if answer.reply
    }, flight.held_over


OK, DOT = "250 2.1.5 ok", "END 250"


@pytest.mark.parametrize(
    ("rcpt", "verdicts", "held_over"),
    [  # A-021 A-051 A-053 A-054 A-055 A-092 G-022 G-024
        ([OK, "550 5.1.1 no", "450 4.2.1 later"], {0: DOT, 1: "RCPT 550", 2: "RCPT 450"}, []),
        (["251 2.1.5 forwarded", "252 x", "257 x"], {0: DOT, 1: DOT, 2: DOT}, []),
        (["551 5.1.6 moved", "577 x", "459 x"], {0: "RCPT 551", 1: "RCPT 577", 2: "RCPT 459"}, []),
        ([OK, "452 4.5.3 too many", "452 4.5.3 too many"], {0: DOT}, [1, 2]),
        ([OK, "452 too many", OK, "452 x"], {0: DOT, 2: DOT}, [1, 3]),
        (["452 4.5.3 too many", OK], {0: "RCPT 452", 1: DOT}, []),  # first: no room at all
        (["452 4.5.3 x", "452 4.5.3 x"], {0: "RCPT 452", 1: "RCPT 452"}, []),
        ([OK, "552 too many"], {0: DOT}, [1]),
        ([OK, "552 5.5.3 too many"], {0: DOT}, [1]),
        ([OK, "552 5.2.2 mailbox full"], {0: DOT, 1: "RCPT 552"}, []),
        ([OK, "552 5.3.4 too big"], {0: DOT, 1: "RCPT 552"}, []),
        ([OK, "552 5.7.1 no"], {0: DOT, 1: "RCPT 552"}, []),
        (["552 5.2.2 mailbox full", OK], {0: "RCPT 552", 1: DOT}, []),
        (["552 too many", OK], {0: "RCPT 552", 1: DOT}, []),
        (["550 5.1.1 no", "552 too many", OK, "552 too many"], {0: "RCPT 550", 1: "RCPT 552", 2: DOT}, [3]),
    ],
)
def test_each_answer_to_rcpt_is_that_recipients(rcpt: list[str], verdicts: dict[int, str], held_over: list[int]) -> None:
    assert flown("250 ok", *rcpt) == (verdicts, held_over)


@pytest.mark.parametrize("mail", ["451 4.3.0 later", "550 5.7.1 no", "552 5.3.4 too big", "452 4.3.1 full", "354 what?"])
@pytest.mark.parametrize(
    "rcpt", [["503 5.5.1 no MAIL"] * 2, ["250 ok", "250 ok"], ["250 ok", "452 x"], ["550 5.1.1 no", "450 x"]]
)
def test_a_no_to_mail_is_everybodys_whatever_is_said_behind_it(mail: str, rcpt: list[str]) -> None:
    """The 503 to a pipelined RCPT must not make a failure of a deferral."""  # A-026 A-050 A-092 A-101
    expected = f"MAIL {mail[:3]}"
    assert flown(mail, *rcpt, end="503 5.5.1 no") == ({0: expected, 1: expected}, [])


@pytest.mark.parametrize("end", ["451 4.3.0 x", "554 5.7.1 spam", "299 odd"])
def test_who_was_refused_at_rcpt_keeps_that_verdict(end: str) -> None:  # A-021 A-059 G-023
    verdicts, _ = flown("250 ok", "550 5.1.1 no", OK, end=end)
    assert verdicts == {0: "RCPT 550", 1: f"END {end[:3]}"}


def test_nobody_is_there_to_send_to() -> None:  # A-052 A-058
    flight = prepared(message([R1, R2, R3]))
    assert not flight.wants_text
    flight.take(reply(Phase.MAIL, "250 ok"))
    for said in ("550 no", "450 later", "550 no"):
        flight.take(reply(Phase.RCPT, said))
        assert not flight.wants_text
