"""Notices as a whole, read by a parser that is not ours."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail import dsn
from smartrelay.mail.address import canonical
from smartrelay.mail.envelope import Recipient
from smartrelay.mail.notice import Action, Outcome
from smartrelay.mail.status import FAILED, Status
from smartrelay.smtp import content
from tests.support.notices import (
    LOCAL,
    NOTICE,
    NOW,
    ORIGIN,
    REMOTE,
    TEXT,
    check,
    facts_of,
    kinds,
    notice,
    octets,
    origin,
    outcomes,
    parse,
    written,
)
from tests.support.queues import few


def test_the_header_of_a_notice_is_complete() -> None:  # C-020 C-024 C-025
    message = notice().message
    assert message["To"] == "s@a.example"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@host.example.org>"
    assert message["Subject"] == "Undelivered Mail Returned to Sender"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    assert message["Message-ID"] == f"<{NOTICE}@host.example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert message["In-Reply-To"] == message["References"] == "<m@x>"
    assert len(set(message.keys())) == len(message.keys())


@pytest.mark.parametrize(
    "message_id", ["", "<>", "m@x", "<m@x", "<a b@x>", "<a>\nX: y", "<m@x> <n@x>", "<ö@x>", f"<{'x' * 901}>"]
)
def test_what_is_no_message_id_is_not_answered(message_id: str) -> None:  # C-025
    message = notice(message_id=message_id).message
    assert "In-Reply-To" not in message and "References" not in message and "X" not in message


@pytest.mark.parametrize("kind", list(kinds()))
def test_each_kind_is_a_report_of_three_parts(kind: str) -> None:  # C-023
    text = kinds()[kind]()
    found = parse(text)
    assert found.words.startswith("This is the mail system at host.example.org.")
    assert len(found.groups) == (6 if kind == "all of them" else 3)


@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize("kind", list(kinds()))
def test_each_kind_can_be_sent_to_every_server(kind: str, eight_bit: bool) -> None:
    """To one that takes no 8-bit data all octets are 7-bit, and it still says the same."""  # C-038 A-093
    text = kinds()[kind]()
    ready = content.prepare(lambda: [text], facts_of(text), eight_bit=eight_bit)
    wire = b"".join(ready.canonical()).replace(b"\r\n", b"\n")
    assert eight_bit or wire.isascii()
    before, after = parse(text), parse(wire)
    assert (after.words, [group.items() for group in after.groups]) == (before.words, [g.items() for g in before.groups])
    assert came_back(wire) == came_back(text)


def came_back(text: bytes) -> tuple[str, object]:
    """The type of the part with the original, and what is in it once its encoding is undone."""
    found = parse(text)
    kind, inside = found.original.get_content_type(), found.original.get_payload(0) if found.original.is_multipart() else None
    if kind == "message/rfc822":
        assert isinstance(inside, EmailMessage)
        return kind, (inside["Subject"], inside.get_content().replace("\r\n", "\n"))
    return kind, octets(text, 2)


@pytest.mark.parametrize("sender", ["jörg@a.example", "s@bücher.example", "ö" * 60 + "@a.example"])
def test_a_sender_who_is_not_ascii_is_named_in_the_header_without_smtputf8(sender: str) -> None:  # C-043
    """RFC 6857: as the name of a group; the header of a notice is one that every server takes."""
    about = origin(sender=sender)
    text = written(about, outcomes(about))
    (group,) = parse(text).message["To"].groups
    assert (group.display_name.replace(" ", ""), group.addresses) == (sender, ())


# What could break it


def test_the_boundary_is_not_in_what_comes_back() -> None:  # C-042
    """Wherever the blocks of the original are cut."""
    text = b"Subject: x\n\n" + b"".join(f"--=_{NOTICE}{end}\n".encode() for end in ("", "--", "_1", "_1--", "_3"))
    for size in range(1, 48):
        about = origin(text=text, ret="FULL", size=size)
        found = parse(written(about, outcomes(about)))
        assert found.message.get_boundary() == f"=_{NOTICE}_2"
        assert found.original.get_content().as_bytes() == text


def test_a_boundary_in_a_header_or_a_reply_ends_no_part() -> None:  # C-042
    head = f"Subject: x\n--=_{NOTICE}--: y\n--=_{NOTICE}_: z\n".encode()
    found = notice(status=REMOTE._replace(text=f"550 --=_{NOTICE}_1"), text=head + b"\n")
    assert found.header.endswith("z\n") and len(found.groups) == 2


@pytest.mark.parametrize("length", [900, 1000])
@pytest.mark.parametrize("char", ["a", "ö", "\U0001f4e7"])
def test_an_address_of_any_length_makes_no_long_line(char: str, length: int) -> None:
    address = canonical(char * (length - 10) + "@a.example")
    for sender in ("s@a.example", address):
        about = origin(Recipient(address, "", f"rfc822;{'x' * length}"), sender=sender)
        assert len(parse(written(about, outcomes(about), ascii_only=False)).groups) == 2


ADDRESSES = st.one_of(
    st.just("r@b.example"), st.just("jörg@bücher.example"), st.just('"a \\" <x>,;: b"@c.example'), st.just("root")
)
HOSTS = st.just("mx.b.example[192.0.2.1]:25") | st.text(max_size=40)
PIECES = st.sampled_from([b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b"\xff", "ü".encode(), b": ", b"x" * 999, b" ", b"--", b"."])
ORIGINALS = st.lists(
    st.binary(max_size=30) | PIECES | st.sampled_from([f"--=_{NOTICE}".encode(), b"Bcc: h@x", b"To: x"]), max_size=12
)


@few
@given(
    original=ORIGINALS.map(b"".join),
    said=st.text(max_size=120) | st.text("ab \n:", max_size=1200),
    code=st.sampled_from([0, 450, 550]),
    enhanced=st.text(max_size=12),
    host=HOSTS,
    message_id=st.text(max_size=60),
    envid=st.text(max_size=60),
    orcpt=st.text("rfc82;utf-x{}\\+0AD@ ", max_size=40),
    hostname=st.text(max_size=60),
    recipient=ADDRESSES,
    sender=ADDRESSES,
    action=st.sampled_from(list(Action)),
    ret=st.sampled_from(["", "FULL", "HDRS"]),
)
def test_whatever_is_told_of_a_notice_stays_a_notice(
    original: bytes,
    said: str,
    code: int,
    enhanced: str,
    host: str,
    message_id: str,
    envid: str,
    orcpt: str,
    hostname: str,
    recipient: str,
    sender: str,
    action: Action,
    ret: str,
) -> None:
    """No field, line or part comes from what others wrote; and it can be sent."""  # A-027 A-074 C-023 C-036 C-042
    about = origin(
        Recipient(recipient, "", orcpt), text=original, sender=sender, message_id=message_id, envid=envid, ret=ret, size=7
    )
    told = [Outcome(0, action, Status(FAILED, enhanced, said, code, host), NOW, NOW + 60)]
    text = written(about, told, hostname, ascii_only=False)
    message = parse(text).message
    named = {"In-Reply-To", "References", "Content-Transfer-Encoding"}
    assert set(message.keys()) - named == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"
    }  # fmt: skip
    assert message["Subject"] in {"Undelivered Mail Returned to Sender", "Delayed Mail (still being retried)"} | {
        "Successful Mail Delivery Report"
    }
    _, report, _ = text.split(f"\n--{message.get_boundary()}\n".encode())[1:]
    lines = report.partition(b"\n\n")[2].decode().split("\n")
    names = [line.partition(":")[0] for line in lines if line]
    assert set(names) <= {
        *("Original-Envelope-Id", "Reporting-MTA", "Arrival-Date", "X-Smartrelay-Queue-ID", "Original-Recipient"),
        *("Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until"),
    }
    assert len(set(names)) == len(names) and all(line.isprintable() for line in lines)
    for eight_bit in (True, False):
        ready = content.prepare(lambda: [text], facts_of(text), eight_bit=eight_bit)
        assert b"".join(ready.canonical()).isascii() or eight_bit


# The note to the postmaster


def note(**about: object) -> bytes:
    found = origin("s@a.example", sender="", **about)  # type: ignore[arg-type]
    text = b"".join(dsn.double_bounce(found, outcomes(found), NOTICE, "host.example.org", "admin@a.example", NOW))
    check(text)
    return text


def test_the_postmaster_is_told_which_notice_was_lost_and_why() -> None:  # C-021
    found = parse(note(notice_of=("25X0LCH4YW6W9QXXX", 1)))
    assert found.message["To"] == "admin@a.example"
    assert found.message["From"] == "Mail Delivery System <MAILER-DAEMON@host.example.org>"
    assert found.message["Subject"] == "A notice could not be delivered (double bounce)"
    assert found.message["Auto-Submitted"] == "auto-replied"
    for word in (ORIGIN, "25X0LCH4YW6W9QXXX", "<s@a.example>", "550 5.1.1 no such user"):
        assert word in found.words
    assert found.groups[1]["Final-Recipient"] == "rfc822; s@a.example"
    assert "automatic answer" in " ".join(parse(note()).words.split())


def test_the_postmaster_gets_no_more_than_a_header() -> None:  # C-042
    assert b"secret body" not in note(ret="FULL")
    assert parse(note(ret="FULL")).header == TEXT.partition(b"\n\n")[0].decode() + "\n"


def test_an_original_that_cannot_be_read_is_no_notice() -> None:
    """The draft is given up and the message kept: C-040."""

    def broken() -> list[bytes]:
        raise OSError("I/O error")

    about = origin(ret="FULL")._replace(text=broken)
    with pytest.raises(OSError, match="I/O"):
        list(dsn.notice(about, outcomes(about, LOCAL), NOTICE, "host.example.org", NOW))


def test_a_notice_is_given_in_blocks() -> None:
    """A large original is never held as a whole."""
    about = origin(text=b"Subject: x\n\n" + b"line\n" * 50_000, ret="FULL", size=1000)
    blocks = list(dsn.notice(about, outcomes(about), NOTICE, "host.example.org", NOW))
    assert max(map(len, blocks)) < 3000 and sum(map(len, blocks)) > 250_000
    message = message_from_bytes(b"".join(blocks), policy=policy.default)
    assert not message.defects
