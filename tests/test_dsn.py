"""Notices about undelivered mail, read by a parser that is not ours."""

from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail.dsn import Origin, bounce, header_of, wants_failure
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.mail.status import FAILED, Status
from tests.support.queues import few

NOW = 1_800_000_000.0
NOTICE, ORIGIN = "25X0LCH4YW6W9QYPF", "25X0LCH4YW6W9QYPG"
HEADER = b"Received: by h\n\tid x\nFrom: a@x\nSubject: one\n"
REMOTE = Status(FAILED, "5.1.1", "550 5.1.1 no such user", 550, "mx.b.example[192.0.2.1]:25", "rcpt")
LOCAL = Status(FAILED, "5.6.0", "the message cannot be sent there", 0, "mx.b.example[192.0.2.1]:25", "mail")


def notice(
    *recipients: Recipient | str,
    status: Status = REMOTE,
    header: bytes = HEADER,
    sender: str = "s@a.example",
    hostname: str = "host.example.org",
    **more: str,
) -> bytes:
    wanted = [each if isinstance(each, Recipient) else Recipient(each) for each in recipients] or [Recipient("r@b.example")]
    envelope = Envelope(sender, wanted, NOW - 60, 0, more.get("message_id", "<m@x>"), envid=more.get("envid", ""))
    failed = [(index, status) for index in range(len(wanted))]
    text = bounce(Origin(ORIGIN, envelope, header), failed, NOTICE, hostname, NOW)
    assert text.isascii() and b"\0" not in text and b"\r" not in text and text.endswith(b"\n")
    assert max(map(len, text.split(b"\n"))) <= 998
    return text


def parsed(text: bytes) -> tuple[EmailMessage, str, list[Message], str]:
    """The notice, its explanation, the groups of its report, and the returned header."""
    message = message_from_bytes(text, policy=policy.default)
    assert not message.defects
    explanation, report, returned = cast(list[EmailMessage], message.get_payload())  # C-023: three parts in this order
    assert [part.get_content_type() for part in (explanation, report, returned)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    return message, explanation.get_content(), cast(list[Message], report.get_payload()), returned.get_content()


def test_the_header_of_a_notice_is_complete() -> None:  # C-020 C-024 C-025
    message, *_ = parsed(notice())
    assert message["To"] == "s@a.example"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@host.example.org>"
    assert message["Subject"] == "Undelivered Mail Returned to Sender"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    assert message["Message-ID"] == f"<{NOTICE}@host.example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert message["In-Reply-To"] == "<m@x>"


def test_the_type_of_a_notice() -> None:  # C-023
    message, *_ = parsed(notice())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"


def test_the_report_names_us_the_times_and_each_recipient() -> None:  # C-026 C-028 C-029 C-030 C-032
    _, _, (about, one, two), _ = parsed(notice("John.DOE@B.Example", "r2@b.example"))
    assert about["Reporting-MTA"] == "dns; host.example.org"
    assert parsedate_to_datetime(about["Arrival-Date"]).timestamp() == NOW - 60
    for group, address in ((one, "John.DOE@B.Example"), (two, "r2@b.example")):
        assert group["Final-Recipient"] == f"rfc822; {address}"
        assert (group["Action"], group["Status"]) == ("failed", "5.1.1")  # C-033
        assert parsedate_to_datetime(group["Last-Attempt-Date"]).timestamp() == NOW
        assert "Will-Retry-Until" not in group  # C-035
        assert "GMT" not in group["Last-Attempt-Date"]


def test_what_a_server_said_is_its_and_what_we_say_is_ours() -> None:  # C-034
    _, explanation, (_, group), _ = parsed(notice())
    assert group["Remote-MTA"] == "dns; mx.b.example"
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert "<r@b.example>: mx.b.example said:" in explanation and "550 5.1.1 no such user" in explanation
    _, explanation, (_, group), _ = parsed(notice(status=LOCAL))
    assert "Remote-MTA" not in group
    assert group["Diagnostic-Code"] == "x-smartrelay; the message cannot be sent there"
    assert "<r@b.example>:\n    the message cannot be sent there\n" in explanation


def test_a_host_without_a_full_name_is_no_dns_name() -> None:  # C-026
    _, _, (about, _), _ = parsed(notice(hostname="box"))
    assert about["Reporting-MTA"] == "x-local-hostname; box"


def test_what_was_not_asked_for_is_not_there() -> None:  # C-027 C-031
    _, _, (about, group), _ = parsed(notice())
    assert "Original-Envelope-Id" not in about and "Original-Recipient" not in group


def test_envelope_id_and_original_recipient_come_back() -> None:  # C-027 C-031
    _, _, (about, group), _ = parsed(notice(Recipient("r@b.example", "", "rfc822;Old@B.example"), envid="AB c"))
    assert about["Original-Envelope-Id"] == "AB c"
    assert group["Original-Recipient"] == "rfc822;Old@B.example"
    assert list(group)[:4] == ["Original-Recipient", "Final-Recipient", "Action", "Status"]  # C-029


def test_the_header_comes_back_and_nothing_of_the_body() -> None:  # C-037
    *_, returned = parsed(notice())
    assert returned == HEADER.decode()


@pytest.mark.parametrize(
    "header",
    [
        "Subject: Grüße\n".encode(),
        b"Subject: \xff\xfe\n",
        b"Subject: \xc3\xa9 a\rb\0c\n",
        b"References: " + b"x" * 3000 + b"\n",
        b"Subject: equal=sign and trailing blank \n" + b"X: " + b"y" * 999 + b"\n",
    ],
)
def test_a_header_that_is_not_plain_comes_back_in_quoted_printable(header: bytes) -> None:  # C-036 C-038
    message, *_ = parsed(notice(header=header))
    part = cast(list[EmailMessage], message.get_payload())[2]
    assert part["Content-Transfer-Encoding"] == "quoted-printable"
    assert part.get_payload(decode=True) == header.replace(b"\0", b"").replace(b"\r", b" ")


def test_a_huge_header_comes_back_up_to_a_whole_line() -> None:  # C-042
    header = b"".join(b"X-%d: %s\n" % (number, b"v" * 90) for number in range(2000))
    text = notice(header=header)
    assert len(text) < 70_000
    *_, returned = parsed(text)
    assert header.startswith(returned.encode()) and returned.endswith("v\n")


def test_the_boundary_is_not_in_what_comes_back() -> None:  # C-042
    boundary = f"--=_{NOTICE}"
    header = f"Subject: x\n {boundary}\n {boundary}--\nX: {boundary}_\n".encode()
    *_, returned = parsed(notice(header=header))
    assert returned.encode() == header


def test_a_boundary_at_a_lines_beginning_in_a_hostile_header_ends_no_part() -> None:  # C-042
    *_, returned = parsed(notice(header=f"Subject: x\n--=_{NOTICE}--: y\n--=_{NOTICE}_: z\n".encode()))
    assert returned.endswith("z\n")


def test_an_internationalised_address_is_written_in_ascii() -> None:  # C-043
    message, explanation, (_, group), _ = parsed(notice("jörg@bücher.example", sender="ä@a.example"))
    assert group["Final-Recipient"] == r"utf-8; j\x{F6}rg@b\x{FC}cher.example"
    assert r"<j\x{F6}rg@b\x{FC}cher.example>" in explanation
    assert r"x{E4}" in str(message["To"])


@few
@given(st.text(max_size=120), st.binary(max_size=120), st.text(max_size=60))
def test_whatever_a_server_says_the_notice_stays_a_notice(
    said: str, header: bytes, message_id: str
) -> None:  # A-027 C-036 C-042
    status = Status(FAILED, "5.0.0", said, 550, "mx.b.example[192.0.2.1]:25", "rcpt")
    head = b"Subject: x\n" + header.replace(b"\n", b"") + b"\n"
    message, _, (_, group), _ = parsed(notice(status=status, header=head, message_id=message_id))
    assert set(group) == {"Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"}
    assert group["Diagnostic-Code"].isprintable() and message["To"] == "s@a.example"


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [  # C-060 C-062 C-066 C-067
        ("", True),
        ("FAILURE", True),
        ("failure,delay", True),
        ("SUCCESS,FAILURE", True),
        ("NEVER", False),
        ("SUCCESS", False),
        ("SUCCESS,DELAY", False),
    ],
)
def test_who_wants_to_be_told_of_a_failure(notify: str, wanted: bool) -> None:
    assert wants_failure(notify) is wanted


def test_the_header_is_found_at_the_beginning_of_a_text_in_blocks() -> None:
    text = HEADER + b"\nbody\n"
    for size in (1, 7, 1000):
        blocks = [text[start : start + size] for start in range(0, len(text), size)]
        assert header_of(blocks) == HEADER
    assert header_of([b"no header\n"]) == header_of([]) == b""
    assert header_of([HEADER]) == HEADER
    assert len(header_of([b"X: " + b"y" * 100_000])) <= 1 << 17
