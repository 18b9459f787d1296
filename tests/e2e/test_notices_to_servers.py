"""Notices of each kind, from the command that takes the mail to the server that takes the notice: Exim and Postfix refuse, put
off and relay, and then take what is told of that. Python's email package reads each, field by field."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import cast

import pytest

from tests.e2e.commands import DOMAIN, HOSTNAME, Machine, Result, relay
from tests.support.certificates import Certificates
from tests.support.exim import EximServer
from tests.support.notices import Parsed, octets, parse
from tests.support.postfix import PostfixServer
from tests.support.smtp_server import ScriptedServer

ME = f"me@{DOMAIN}"
QUEUE = '[queue]\nretry = ["24h"]\nlifetime = "48h"\nwarn_after = ["4h"]\n'
HOUR = 3600
DATES = {"Arrival-Date", "Last-Attempt-Date", "Will-Retry-Until"}
ORDER = [
    *("Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"),
    *("Last-Attempt-Date", "Will-Retry-Until"),
]


@dataclass(frozen=True)
class Mta:
    """A server that takes mail for anybody but those called bad or late, and gives no reports of its own. name: by which a
    report names it; received: what it took, the newest header on top."""

    rule: str
    name: str
    refusal: str
    delay: str
    received: Callable[[], list[bytes]]
    secret: str = ""


@pytest.fixture(params=["exim", "postfix"])
def mta(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Mta]:
    with ExitStack() as running:
        if request.param == "exim":
            exim = running.enter_context(EximServer(certificates.server))
            auth = f'{{ user = "{exim.user}", secret = "env:SECRET" }}'
            rule = relay(f"smtp+tls://localhost:{exim.port}", auth=auth, ca_file=f'"{certificates.ca_file}"')
            name, refusal, delay = "x-local-hostname; localhost", "550 no such user", "451 .+"
            yield Mta(rule, name, refusal, delay, exim.messages, exim.password)
        else:
            postfix = running.enter_context(PostfixServer("smtpd_discard_ehlo_keywords = dsn"))
            rejected = r"<\S+>: Recipient address rejected: "
            yield Mta(
                relay(f"smtp://127.0.0.1:{postfix.port}"),
                "dns; 127.0.0.1",
                rf"550 5\.1\.1 {rejected}no such user",
                rf"450 4\.2\.1 {rejected}not now",
                lambda: [mail.content for mail in postfix.messages()],
            )


def enqueue(machine: Machine, kind: str, *arguments: str, old: float = 0) -> str:
    """Queues a message of that Subject, `old` seconds ago."""
    text = f"Subject: {kind}\nMessage-ID: <{kind}@{DOMAIN}>\nTo: somebody\n\nThe body of {kind}.\n"
    one = machine.enqueue(text.encode(), "-f", ME, *arguments)
    machine.let_age(one, old)
    return one


def flush(machine: Machine, mta: Mta) -> Result:
    return machine.flush(env={"SECRET": mta.secret})


def notices(texts: list[bytes]) -> dict[str, Parsed]:
    """The notices among what a server took, by the Subject of the message that each is about."""
    found: dict[str, Parsed] = {}
    for text in texts:
        if b"multipart/report" not in text:
            continue
        notice = parse(text)
        kind = str(notice.message["In-Reply-To"]).strip("<>").partition("@")[0]
        assert kind not in found, f"two notices about {kind}"
        found[kind] = notice
    return found


def check(notice: Parsed, kind: str, one: str, about: dict[str, str], *expected: dict[str, str]) -> None:
    """Each field of the header and of the report. expected: patterns, by field, but for dates, of each recipient's group."""
    # C-024 C-025 C-026 C-028 C-029 C-030 C-032 C-033 C-034 C-035
    message = notice.message
    assert message["From"] == f"Mail Delivery System <MAILER-DAEMON@{HOSTNAME}>"
    assert message["To"] == ME
    assert re.fullmatch(rf"<[0-9A-Z]{{17}}@{re.escape(HOSTNAME)}>", message["Message-ID"])
    assert message["References"] == message["In-Reply-To"] == f"<{kind}@{DOMAIN}>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"].datetime is not None and not message["Date"].defects
    first, *groups = notice.groups
    fields = {"Reporting-MTA": f"dns; {HOSTNAME}", "X-Smartrelay-Queue-ID": one, **about}
    assert {name: value for name, value in first.items() if name not in DATES} == fields
    assert len(groups) == len(expected)
    for group, wanted in zip(groups, expected, strict=True):
        assert list(group) == [name for name in ORDER if name in group], "their order"
        assert {name for name in group if name not in DATES} == set(wanted)
        assert ("Will-Retry-Until" in group) == (wanted["Action"] == "delayed")
        for name, pattern in wanted.items():
            assert re.fullmatch(pattern, group[name]), (kind, name, group[name])
    for group in notice.groups:
        for name in DATES & set(group):
            assert parsedate_to_datetime(group[name]).tzinfo is not None and group[name][-5] in "+-"
    assert f"Subject: {kind}\n" in str(notice.original)
    assert f"The body of {kind}" not in str(notice.original)  # C-037


def test_each_kind_of_notice_comes_about_and_is_taken(
    machine: Machine, mta: Mta, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """Issue 5, 3 and 5: what a server refused, what was given up, what is late, what it took without a report of its own, and
    what went to a mailbox by LMTP."""  # C-005 C-020 C-023 C-060 C-061 C-062 C-064 C-069 C-070
    mailbox = smtp_server(lmtp=True, keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"))
    by_lmtp = relay(f"lmtp://127.0.0.1:{mailbox.port}", recipient='["*@mailbox.example"]')
    machine.configure(by_lmtp, mta.rule, QUEUE)
    ids = {
        "refused": enqueue(machine, "refused", "-V", "AB+20c", "bad1@b.example", "fine@b.example", "Bad2@b.example"),
        "expired": enqueue(machine, "expired", "late1@b.example", old=50 * HOUR),
        "delayed": enqueue(machine, "delayed", "late2@b.example", old=5 * HOUR),
        "relayed": enqueue(machine, "relayed", "-N", "success", "ok@b.example"),
        "delivered": enqueue(machine, "delivered", "-N", "success", "box@mailbox.example"),
        "silent": enqueue(machine, "silent", "-N", "never", "bad3@b.example"),
        "unasked": enqueue(machine, "unasked", "ok@b.example", "box@mailbox.example"),
    }
    result = flush(machine, mta)
    assert machine.ids() == [ids["delayed"]], result.errors
    found = notices(mta.received())
    assert set(found) == {"refused", "expired", "delayed", "relayed", "delivered"}, result.errors
    spoke = {"Remote-MTA": mta.name}
    no = {**spoke, "Action": "failed", "Status": r"5\.\d\.\d", "Diagnostic-Code": f"smtp; {mta.refusal}"}
    late = {**spoke, "Diagnostic-Code": f"smtp; {mta.delay}"}
    yes = {"Status": r"2\.\d\.\d", "Diagnostic-Code": "smtp; 250 .+"}
    check(
        found["refused"],
        "refused",
        ids["refused"],
        {"Original-Envelope-Id": "AB c"},
        {**no, "Final-Recipient": "rfc822; bad1@b.example"},
        {**no, "Final-Recipient": "rfc822; Bad2@b.example"},
    )
    expected = {
        "expired": {**late, "Final-Recipient": "rfc822; late1@b.example", "Action": "failed", "Status": r"5\.4\.7"},
        "delayed": {**late, "Final-Recipient": "rfc822; late2@b.example", "Action": "delayed", "Status": r"4\.\d\.\d"},
        "relayed": {**spoke, **yes, "Final-Recipient": "rfc822; ok@b.example", "Action": "relayed"},
        "delivered": {
            **yes,
            "Remote-MTA": "dns; 127.0.0.1",
            "Final-Recipient": "rfc822; box@mailbox.example",
            "Action": "delivered",
        },
    }
    for kind, group in expected.items():
        check(found[kind], kind, ids[kind], {}, group)
    # the next attempt is no news
    machine.make_due()
    flush(machine, mta)
    assert set(notices(mta.received())) == set(found)


def test_a_server_with_dsn_tells_itself(machine: Machine) -> None:  # C-065
    """NOTIFY is passed on, and nothing comes from us."""
    with PostfixServer() as postfix:
        machine.configure(relay(f"smtp://127.0.0.1:{postfix.port}"), QUEUE)
        enqueue(machine, "asked", "-N", "success", "ok@b.example")
        machine.flush()
        assert machine.ids() == []
        (mail,) = postfix.messages()
        assert mail.recipients == ["ok@b.example"]


@pytest.mark.parametrize("sender", [ME, f"jörg@{DOMAIN}"])
def test_an_international_message_comes_back(machine: Machine, sender: str) -> None:
    """To a sender with such an address as it was, to others in ASCII."""  # C-043
    with PostfixServer() as postfix:
        machine.configure(relay(f"smtp://127.0.0.1:{postfix.port}"))
        text = "Subject: Grüße\nFrom: jörg@a.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nSchön\n"
        machine.enqueue(text.encode(), "-f", sender, "-R", "full", "badäx@b.example")
        machine.flush()
        assert machine.ids() == []
        (mail,) = postfix.messages()
    assert (mail.sender, mail.recipients) == ("", [sender])
    notice = parse(mail.content)
    group = cast(str, notice.groups[1]["Final-Recipient"])
    assert (group, notice.original.get_content_type()) == (
        "utf-8; badäx@b.example" if sender != ME else r"utf-8; bad\x{E4}x@b.example",
        "message/global",
    )
    assert mail.content.isascii() == (sender == ME)
    assert "no such user" in notice.groups[1]["Diagnostic-Code"]
    assert "Subject: Grüße\n" in octets(mail.content, 2).decode()
