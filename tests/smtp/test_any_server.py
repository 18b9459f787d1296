"""Any messages, for any recipients, to a server with any of the extensions that we know."""

import re
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartrelay.mail.status import DELIVERED, FAILED
from smartrelay.relay.blame import judge
from smartrelay.smtp.transaction import Transaction
from tests.smtp.scene import Told, message, opened
from tests.support.smtp_server import ScriptedServer

EXTENSIONS = ["PIPELINING", "8BITMIME", "SIZE 2000", "SIZE", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "LIMITS RCPTMAX=2"]
NEEDS = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}
"""The extension without which a parameter must not be said."""

ADDRESSES = st.sampled_from(
    [
        "a@b.example",
        '"a b"@b.example',
        "a@[192.0.2.1]",
        "a+b=c@sub.b.example",
        "ü@b.example",
        "a@bücher.example",
        "ü@bücher.example",
    ]
)
TEXTS = st.lists(
    st.sampled_from(
        [b"\n", b".", b".\n", b"\n.\n", b"\r", b"\r\n.\r\n", b"text", b"Subject: x\n", b"\xc3\xbc", b"\0", b"x" * 700, b"\n\n"]
    ),
    max_size=12,
).map(b"".join)


@st.composite
def messages(draw: st.DrawFn) -> Transaction:
    """A message with whatever wishes; its text ends in a line of its own."""
    wishes = draw(st.booleans())
    more = {"notify": "FAILURE,DELAY", "orcpt": "rfc822;x@y", "ret": "HDRS", "envid": "a b+c"} if wishes else {}
    recipients = draw(st.lists(ADDRESSES, min_size=1, max_size=5))
    return message(recipients, draw(st.sampled_from(["s@a.example", "", "ß@a.example"])), draw(TEXTS), **more)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(messages(), min_size=1, max_size=5), st.sets(st.sampled_from(EXTENSIONS)))
def test_whatever_a_server_offers_it_gets_what_it_can_take_and_no_more(
    wanted: list[Transaction], offered: set[str]
) -> None:  # A-044 A-050 A-056 A-075 A-090 A-094 G-028
    """Each recipient is told of once; what is said to be sent arrived, under its own envelope, to the octet where the server
    could take it so, and else fit for it; no parameter is said that was not offered; nothing fails but what cannot be sent."""
    with ScriptedServer(keywords=sorted(offered)) as server:
        told, waiting = Told(), list(wanted)
        session = opened(server)
        session.relay(lambda: waiting.pop(0) if waiting else None, told)
        session.close()
        arrived = iter(server.accepted)
        for each in wanted:
            statuses = [judge(answer, "h").status for answer in told.of(each)]
            assert {status.action for status in statuses} <= {DELIVERED, FAILED}
            for status in statuses:
                assert status.action == DELIVERED or status.dsn in {"5.3.4", "5.6.7", "5.6.0", "5.6.1", "5.6.3"}
        keywords = {keyword.split()[0] for keyword in offered}
        for line in parameters(server):
            assert NEEDS[line] in keywords
        delivered = sum(judge(answer, "h").status.action == DELIVERED for each in wanted for answer in told.of(each))
        assert delivered == sum(len(transaction.recipients) for transaction in arrived)
        contents = [transaction.content for transaction in server.accepted]
        for each in wanted:
            text = b"".join(each.text())
            if is_plain(text) and any(answer.good for answer in told.of(each)):
                assert as_sent(text) in contents
        for transaction in server.accepted:
            assert len(transaction.recipients) <= (2 if "LIMITS" in keywords else 100)
            lines = transaction.content.split(b"\r\n")
            assert not any(b"\r" in text or b"\n" in text or b"\0" in text or len(text) > 998 for text in lines)
            assert transaction.content.isascii() or "8BITMIME" in keywords


def parameters(server: ScriptedServer) -> Iterator[str]:
    """The names of all parameters that were said."""
    for line in server.commands:
        if line.startswith((b"MAIL", b"RCPT")):
            path = re.match(rb'\w+ \w+:<(?:"[^"]*"|[^>"])*>', line)
            assert path, line
            for word in line[path.end() :].split():
                yield word.partition(b"=")[0].decode()


def is_plain(text: bytes) -> bool:
    """Whether any server can take the text as it is."""
    return text.isascii() and b"\0" not in text and all(len(line) <= 998 for line in text.split(b"\n"))


def as_sent(text: bytes) -> bytes:
    """A text as a server gets it that can take it as it is."""
    text = text.replace(b"\r", b" ").replace(b"\n", b"\r\n")
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"
