"""The report for programs, field by field (RFC 3464 section 2)."""

from email.utils import parsedate_to_datetime

import pytest

from smartrelay.mail.envelope import Recipient
from smartrelay.mail.notice import Action, Outcome
from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status
from tests.support.notices import (
    ARRIVED,
    ATTEMPTED,
    BUSY,
    HOST,
    LOCAL,
    NOW,
    ORIGIN,
    REMOTE,
    SILENT,
    TAKEN,
    notice,
    origin,
    parse,
    written,
)


def test_the_report_names_us_the_times_and_each_recipient() -> None:  # C-026 C-028 C-029 C-030 C-032
    about, one, two = notice("John.DOE@B.Example", "r2@b.example").groups
    assert list(about) == ["Reporting-MTA", "Arrival-Date", "X-Smartrelay-Queue-ID"]
    assert (about["Reporting-MTA"], about["X-Smartrelay-Queue-ID"]) == ("dns; host.example.org", ORIGIN)
    assert parsedate_to_datetime(about["Arrival-Date"]).timestamp() == ARRIVED
    for group, address in ((one, "John.DOE@B.Example"), (two, "r2@b.example")):
        assert group["Final-Recipient"] == f"rfc822; {address}"
        assert (group["Action"], group["Status"]) == ("failed", "5.1.1")  # C-033
        assert parsedate_to_datetime(group["Last-Attempt-Date"]).timestamp() == ATTEMPTED
        assert "Will-Retry-Until" not in group  # C-035
        assert group["Last-Attempt-Date"][-5] in "+-"


@pytest.mark.parametrize(
    ("action", "status", "shown", "code", "diagnostic"),
    [
        (Action.FAILED, REMOTE, "failed", "5.1.1", "smtp; 550 5.1.1 no such user"),
        (Action.FAILED, LOCAL, "failed", "5.6.0", "x-smartrelay; the message cannot be sent there"),
        (Action.EXPIRED, BUSY, "failed", "5.4.7", "smtp; 452 4.2.2 mailbox full"),  # C-005: with the last real error
        (Action.EXPIRED, SILENT, "failed", "5.4.7", "x-smartrelay; connection refused"),
        (Action.DELAYED, BUSY, "delayed", "4.2.2", "smtp; 452 4.2.2 mailbox full"),
        (Action.DELAYED, SILENT, "delayed", "4.4.1", "x-smartrelay; connection refused"),
        (Action.RELAYED, TAKEN, "relayed", "2.0.0", "smtp; 250 2.0.0 ok"),  # C-064
        (Action.DELIVERED, TAKEN, "delivered", "2.0.0", "smtp; 250 2.0.0 ok"),
        (Action.DELIVERED, Status(DELIVERED, "2.0.0", ""), "delivered", "2.0.0", None),
    ],
)
def test_each_action_has_its_status_and_its_diagnostic(
    action: Action, status: Status, shown: str, code: str, diagnostic: str | None
) -> None:  # C-032 C-033 C-034
    group = notice(status=status, action=action).groups[1]
    assert (group["Action"], group["Status"], group["Diagnostic-Code"]) == (shown, code, diagnostic)
    assert group["Remote-MTA"] == ("dns; mx.b.example" if status.code else None)


@pytest.mark.parametrize(
    ("action", "dsn", "shown"),
    [
        (Action.FAILED, "4.2.1", "5.2.1"),
        (Action.FAILED, "5.01.1", "5.0.0"),
        (Action.FAILED, "5.1.1000", "5.0.0"),
        (Action.FAILED, "", "5.0.0"),
        (Action.FAILED, "5.1.1\nX: y", "5.0.0"),
        (Action.FAILED, "5.7.٣", "5.0.0"),
        (Action.FAILED, "5.1.10", "5.1.10"),
        (Action.DELAYED, "5.1.1", "4.1.1"),
        (Action.DELAYED, "x", "4.0.0"),
        (Action.RELAYED, "2.6.0", "2.6.0"),
        (Action.DELIVERED, "4.1.1", "2.0.0"),
    ],
)
def test_the_class_of_a_status_is_that_of_its_action(action: Action, dsn: str, shown: str) -> None:  # C-033
    status = Status(FAILED, dsn, "x", 550, HOST)
    assert notice(status=status, action=action).groups[1]["Status"] == shown


def test_only_what_is_delayed_will_be_retried() -> None:  # C-029 C-035
    for action in Action:
        group = notice(status=BUSY, action=action, retry_until=NOW + 3600).groups[1]
        assert ("Will-Retry-Until" in group) is (action is Action.DELAYED)
    late = notice(status=BUSY, action=Action.DELAYED, retry_until=NOW + 3600).groups[1]
    assert parsedate_to_datetime(late["Will-Retry-Until"]).timestamp() == NOW + 3600
    assert list(late)[-1] == "Will-Retry-Until"
    assert "Will-Retry-Until" not in notice(status=BUSY, action=Action.DELAYED).groups[1]


def test_one_report_tells_all_kinds_and_no_other_recipient() -> None:  # C-039
    about = origin("a@x", Recipient("never@x", "NEVER"), "b@x", "c@x")
    told = [
        Outcome(0, Action.FAILED, REMOTE, NOW),
        Outcome(2, Action.DELAYED, BUSY, NOW, NOW + 60),
        Outcome(3, Action.RELAYED, TAKEN, NOW),
    ]
    text = written(about, told)
    groups = parse(text).groups[1:]
    assert [(group["Final-Recipient"], group["Action"]) for group in groups] == [
        ("rfc822; a@x", "failed"),
        ("rfc822; b@x", "delayed"),
        ("rfc822; c@x", "relayed"),
    ]
    assert b"never" not in text


# Names of hosts


@pytest.mark.parametrize(
    ("hostname", "shown"),
    [
        ("box", "x-local-hostname; box"),
        ("host.example.org", "dns; host.example.org"),
        ("b\nX: y", "x-local-hostname; b-X:-y"),
        ("", "x-local-hostname; localhost"),
    ],
)
def test_a_host_without_a_full_name_is_no_dns_name(hostname: str, shown: str) -> None:  # C-026
    assert notice(hostname=hostname).groups[0]["Reporting-MTA"] == shown


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mx.b.example[192.0.2.1]:25", "dns; mx.b.example"),
        ("127.0.0.1[127.0.0.1]:25", "dns; 127.0.0.1"),
        ("mx.b.example", "dns; mx.b.example"),
        ("relay[192.0.2.1]:25", "x-local-hostname; relay"),
        ("/run/dovecot/lmtp", "dns; host.example.org"),  # C-042: a socket's path is nobody's business
        ("a\nb: c[1]:2", None),
    ],
)
def test_the_remote_server_is_named_by_its_name(host: str, shown: str | None) -> None:  # C-034
    found = notice(status=REMOTE._replace(host=host)).groups[1]["Remote-MTA"]
    assert found == shown if shown else "\n" not in found and found.isprintable()


def test_our_own_words_name_no_file() -> None:  # C-042
    status = SILENT._replace(text="cannot read the secret /etc/smartrelay/work.secret: see https://x.example/help")
    found = notice(status=status, action=Action.DELAYED)
    assert found.groups[1]["Diagnostic-Code"].endswith("cannot read the secret (a file): see https://x.example/help")
    assert "work.secret" not in found.words
    said = notice(status=REMOTE._replace(text="550 see /postmaster")).groups[1]["Diagnostic-Code"]
    assert said == "smtp; 550 see /postmaster"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("550 5.1.1 kein Empfänger", "550 5.1.1 kein Empf?nger"),
        ("550 \x1b[31mred\x07\r\nStatus: 2.0.0", "550 ?[31mred? Status: 2.0.0"),
    ],
)
def test_a_servers_words_are_one_line_of_ascii(said: str, shown: str) -> None:  # C-036 C-042
    about = origin()
    text = written(about, [Outcome(0, Action.FAILED, REMOTE._replace(text=said), NOW)])
    assert b"\nContent-Type: message/delivery-status\n" in text
    assert parse(text).groups[1]["Diagnostic-Code"] == f"smtp; {shown}"


def test_a_status_without_words_says_so() -> None:
    assert notice(status=Status(DEFERRED, "4.0.0", "")).groups[1]["Diagnostic-Code"] == "x-smartrelay; no reason is recorded"


# What the sender gave with the message


def test_what_was_not_asked_for_is_not_there() -> None:  # C-027 C-031
    about, group = notice().groups
    assert "Original-Envelope-Id" not in about and "Original-Recipient" not in group


@pytest.mark.parametrize("envid", ["AB c", "AB  c", "ab+20c", "=+="])
def test_the_envelope_id_comes_back_as_it_was_given(envid: str) -> None:
    """It was decoded at the door, and is not again."""  # C-027
    about = notice(envid=envid).groups[0]
    assert next(iter(about.items())) == ("Original-Envelope-Id", envid)


@pytest.mark.parametrize(
    ("orcpt", "shown"),
    [
        ("rfc822;Old@B.example", "rfc822;Old@B.example"),
        ("rfc822;a+2Bb+3Dc@B.example", "rfc822;a+b=c@B.example"),
        ("RFC822;a+20b@B.example", "RFC822;a b@B.example"),
        ("rfc822;a+0AX:+20y@b", "rfc822;a+0AX: y@b"),  # no field begins within another
        ("rfc822;a+0D+00+7F+FFy@b", "rfc822;a+0D+00+7F+FFy@b"),
        ("x400;/c=de", "x400;/c=de"),
        ("utf-8;j\\x{F6}rg\\x{2B}x@b", "utf-8;j\\x{F6}rg\\x{2B}x@b"),  # C-044
        ("old@b.example", "rfc822;old@b.example"),
        ("bad type;old@b", "rfc822;old@b"),
    ],
)
def test_the_original_recipient_comes_back_decoded(orcpt: str, shown: str) -> None:  # C-031
    group = notice(Recipient("r@b.example", "", orcpt)).groups[1]
    assert list(group)[:4] == ["Original-Recipient", "Final-Recipient", "Action", "Status"]  # C-029
    assert group["Original-Recipient"] == shown


# Internationalised addresses (RFC 6533)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jörg@bücher.example", r"utf-8; j\x{F6}rg@b\x{FC}cher.example"),
        ("jörg+a=b@x.example", r"utf-8; j\x{F6}rg\x{2B}a\x{3D}b@x.example"),
        (r'"j ö\\rg"@x.example', r'utf-8; "j\x{20}\x{F6}\x{5C}\x{5C}rg"@x.example'),
        ("\U0001f4e7@x.example", r"utf-8; \x{1F4E7}@x.example"),
        ("a+b@x.example", "rfc822; a+b@x.example"),
    ],
)
def test_an_internationalised_address_is_written_in_ascii(address: str, shown: str) -> None:  # C-043 C-036
    assert notice(address).groups[1]["Final-Recipient"] == shown


def test_a_sender_with_such_an_address_gets_an_international_report() -> None:  # C-043 C-044
    recipients = [
        Recipient("jörg+x@bücher.example", "", "utf-8;j\\x{F6}rg\\x{2B}x\\x{7}\\x{D800}\\x{202E}@b"),
        Recipient("r@b"),
    ]
    about = origin(*recipients, sender="ä@a.example")
    told = [Outcome(index, Action.FAILED, REMOTE, NOW) for index in range(2)]
    text = written(about, told, ascii_only=False)
    report = next(
        part for part in parse(text).message.iter_parts() if part.get_content_type() == "message/global-delivery-status"
    )
    assert report["Content-Transfer-Encoding"] == "8bit"
    inside = text.partition(b"message/global-delivery-status")[2].decode()
    assert "\nFinal-Recipient: utf-8; jörg\\x{2B}x@bücher.example\n" in inside
    assert "\nOriginal-Recipient: utf-8;jörg\\x{2B}x\\x{7}\\x{D800}\\x{202E}@b\n" in inside
    assert "\nFinal-Recipient: rfc822; r@b\n" in inside


def test_an_international_report_is_only_made_where_it_is_needed() -> None:  # C-043
    about = origin("r@b.example", sender="ä@a.example")
    text = written(about, [Outcome(0, Action.FAILED, REMOTE, NOW)])
    assert b"Content-Type: message/delivery-status\n" in text and b"global" not in text
