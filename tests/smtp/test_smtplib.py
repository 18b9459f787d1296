"""Nothing of smtplib's own plumbing reaches the wire."""

import inspect
import smtplib
import socket
from collections.abc import Iterator

import pytest

from smartrelay.errors import AddressError
from smartrelay.mail import address
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.dialogue import Phase, path_command
from tests.smtp.scene import NAME, PATIENT, Start, message, one, opened

PUBLIC = sorted(name for name, value in inspect.getmembers(smtplib.SMTP, callable) if not name.startswith("_"))

OURS = {"close", "quit", "has_extn"}
"""What a client of ours does under smtplib's names; all else is refused."""


@pytest.fixture
def pair() -> Iterator[tuple[SMTPClient, socket.socket]]:
    """A client and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    client = SMTPClient(ours, NAME, PATIENT)
    with theirs:
        yield client, theirs
        client.close()


def arrived(theirs: socket.socket) -> bytes:
    """What is at the server's end by now."""
    theirs.setblocking(False)
    try:
        return theirs.recv(1 << 16)
    except BlockingIOError:
        return b""


def test_the_list_is_smtplibs_own() -> None:
    assert {"sendmail", "send_message", "login", "mail", "rcpt", "data", "getreply", "starttls", "connect"} <= set(PUBLIC)
    assert set(PUBLIC) >= OURS


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_method_is_our_own(name: str) -> None:  # G-001 G-003 G-005 G-008 G-011 G-016 G-022 G-023 G-039 G-041 G-043
    assert getattr(SMTPClient, name) is not getattr(smtplib.SMTP, name)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - OURS))
def test_what_we_have_no_use_for_raises_before_the_wire(pair: tuple[SMTPClient, socket.socket], name: str) -> None:
    """Whatever it is given."""  # G-006 G-018 G-021 G-026 G-032 G-038 G-040
    client, theirs = pair
    for count in range(4):
        with pytest.raises(NotImplementedError):
            getattr(client, name)(*["x"] * count)
    assert arrived(theirs) == b""
    assert client.wire.sock is not None


@pytest.mark.parametrize("name", sorted(name for name in dir(smtplib.SMTP) if name.startswith("_") and not name.endswith("__")))
def test_nor_does_its_private_plumbing_get_there(pair: tuple[SMTPClient, socket.socket], name: str) -> None:
    client, theirs = pair
    method = getattr(client, name)
    if inspect.isroutine(method):
        for count in range(4):
            with pytest.raises(Exception):  # noqa: B017 - any will do, so long as nothing was said
                method(*["\0"] * count)
                raise LookupError
    assert arrived(theirs) == b""


def test_smtplibs_attributes_lead_nowhere(pair: tuple[SMTPClient, socket.socket]) -> None:
    """Its methods, called past ours, have no socket to speak on."""  # G-013 G-046
    client, theirs = pair
    for name in set(PUBLIC) - {"close"}:
        for count in range(4):
            with pytest.raises(Exception):  # noqa: B017
                getattr(smtplib.SMTP, name)(client, *["x"] * count)
                raise LookupError
    assert arrived(theirs) == b""


def test_a_with_block_ends_without_a_complaint(smtp_server: Start) -> None:  # G-027
    server = smtp_server(replies={"QUIT": b"500 what?"})
    session = opened(server)
    with session.client as client:
        assert isinstance(client, SMTPClient)
    assert client.wire.sock is None
    assert server.commands == [b"EHLO " + NAME.encode(), b"QUIT"]


def test_making_a_client_asks_no_resolver(pair: tuple[SMTPClient, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does its EHLO: our name is given, or our end of the connection."""  # G-002

    def asked(*_: object) -> None:
        raise AssertionError("a resolver was asked")

    for name in ("getfqdn", "gethostbyname", "getaddrinfo", "gethostname"):
        monkeypatch.setattr(socket, name, asked)
    _, theirs = pair
    ours, other = socket.socketpair()
    with other:
        client = SMTPClient(ours, "box", PATIENT)
        client.wire.send([(Phase.EHLO, f"EHLO {client.name()}\r\n".encode())])
        assert arrived(other) == b"EHLO box\r\n"
        client.close()
    assert arrived(theirs) == b""


def test_a_client_has_no_timeout_of_smtplibs(pair: tuple[SMTPClient, socket.socket]) -> None:  # G-037
    client, _ = pair
    assert client.timeouts is PATIENT and not hasattr(client, "timeout")


def test_extensions_are_known_by_name_in_any_case(smtp_server: Start) -> None:  # G-017
    server = smtp_server(keywords=["size foo", "Pipelining"])
    session = opened(server)
    assert session.client.has_extn("PIPELINING") and session.client.has_extn("pipelining") and session.client.has_extn("Size")
    assert not session.client.has_extn("dsn")
    session.close()


# The nine addresses that smtplib rewrites, or lets inject parameters

NINE = {
    "@r:u@d": None,
    'us"er@d': None,
    "mailer daemon": None,
    "a;b@c": None,
    "foo@x,bar@y": None,
    "a(b)c@d": None,
    "a b@d": None,
    "a@b> SIZE=1": None,
    "<a@b> NOTIFY=NEVER": None,
}


def mailbox(path: str) -> tuple[str, str]:
    """A path as a server reads it (RFC 5321 section 4.1.2): the local part without its quoting, and the domain."""
    if not path.startswith('"'):
        local, _, domain = path.rpartition("@")
        assert local and not set(local) & set(' ()<>[]:;@\\,"'), path
        return local, domain
    local, end = "", 1
    while path[end] != '"':
        end += path[end] == "\\"
        local += path[end]
        end += 1
    assert path[end + 1] == "@", path
    return local, path[end + 2 :]


@pytest.mark.parametrize("given", NINE)
def test_an_address_is_refused_or_goes_out_as_it_was_given(smtp_server: Start, given: str) -> None:
    """Another mailbox than the one that was named, or a parameter, never reaches the wire."""  # A-043 A-046 G-006 G-007
    try:
        canonical = address.canonical(given)
    except AddressError:
        return
    if "@" not in canonical:
        canonical = address.qualified(canonical, "d")
        given += "@d"
    assert mailbox(canonical) == tuple(given.rsplit("@", 1))
    server = smtp_server(keywords=["SIZE", "DSN"])
    (answer,) = one(opened(server), message([canonical], sender=canonical))
    assert answer.good
    (transaction,) = server.accepted
    assert transaction.rcpt_to == [f"RCPT TO:<{canonical}>".encode()]
    assert transaction.mail_from.startswith(f"MAIL FROM:<{canonical}> SIZE=".encode())


@pytest.mark.parametrize("bad", ["a@b\r\nRCPT TO:<x@y", "a@b\n", "a\0@b", "a\x7f@b", "a@b\x85c", "a@b\u2028c"])
def test_a_control_character_never_becomes_a_command(bad: str) -> None:
    """Whoever let it into the spool."""  # A-045 G-006
    for verb in ("MAIL FROM", "RCPT TO"):
        with pytest.raises(ValueError):
            path_command(verb, bad, [])
