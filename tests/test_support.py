"""The real components that tests stand on do what they say; each misbehaviour of the scripted server once."""

import base64
import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support.certificates import Certificate, Certificates
from tests.support.exim import EximServer
from tests.support.opensmtpd import OpensmtpdServer
from tests.support.process import ServerProcess, free_port
from tests.support.sink import SmtpSink
from tests.support.smtp_server import Action, Answer, Gate, Pieces, ScriptedServer, Session

MESSAGE = b"Subject: caf\xc3\xa9\r\n\r\n..two dots\r\n.\r\nend\r\n"
Start = Callable[..., ScriptedServer]


def connect(server: ScriptedServer | SmtpSink | EximServer | OpensmtpdServer) -> smtplib.SMTP:
    return smtplib.SMTP("localhost", server.port, local_hostname="client.example.test", timeout=20)


def test_the_sink_keeps_envelope_and_content(smtp_sink: SmtpSink) -> None:
    for number in range(3):
        with connect(smtp_sink) as client:
            client.sendmail("me@example.org", ["a@example.net", f"b{number}@example.net"], MESSAGE)
        assert len(smtp_sink.messages()) == number + 1
    mail = smtp_sink.messages()[-1]
    assert mail.mail_from == "<me@example.org>"
    assert mail.recipients == ["<a@example.net>", "<b2@example.net>"]
    assert mail.content == MESSAGE.replace(b"\r\n", b"\n")


def test_the_sink_takes_options_and_leaves_nothing() -> None:
    with SmtpSink("-r", "RCPT") as sink, connect(sink) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
        assert sink.messages() == []
        assert sink.process is not None
        process = sink.process
    assert process.returncode is not None
    assert not os.path.exists(sink.folder)


def test_exim_relays_after_sign_in_over_verified_tls(exim: EximServer, certificates: Certificates) -> None:
    with connect(exim) as client:
        client.starttls(context=ssl.create_default_context(cafile=certificates.ca_file))
        assert sign_in(client, exim.user, exim.password) == 235
        client.sendmail("me@example.org", ["a@example.net", "b@example.net"], MESSAGE)
    (message,) = exim.messages()
    assert message.startswith(b"Return-path: <me@example.org>\nEnvelope-to: a@example.net,\n b@example.net\nReceived:")
    assert message.endswith(b"\n" + MESSAGE.replace(b"\r\n", b"\n"))
    assert "A=plain:me" in exim.log()


def sign_in(client: smtplib.SMTP, user: str, password: str) -> int:
    # smtplib's own login can't say a password that is not ASCII.
    client.ehlo()
    return client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())[0]


def test_exim_refuses_a_wrong_password_and_who_did_not_sign_in(exim: EximServer, certificates: Certificates) -> None:
    with connect(exim) as client:
        client.starttls(context=ssl.create_default_context(cafile=certificates.ca_file))
        assert sign_in(client, exim.user, "wrong") == 535
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="relay not permitted"):
            client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    with connect(exim) as client, pytest.raises(smtplib.SMTPRecipientsRefused, match="encryption required"):
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    assert exim.messages() == []
    assert "535 Incorrect authentication data" in exim.log()


def test_exim_speaks_tls_from_the_first_byte_and_login(certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca_file)
    with (
        EximServer(certificates.server, "you", "plain", implicit_tls=True) as exim,
        smtplib.SMTP_SSL("localhost", exim.port, context=context, timeout=20) as client,
    ):
        client.ehlo()
        client.user, client.password = "you", "plain"
        assert client.auth("LOGIN", client.auth_login)[0] == 235
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
        assert len(exim.messages()) == 1


def test_opensmtpd_relays_for_those_who_signed_in_and_leaves_nothing(certificates: Certificates) -> None:
    with OpensmtpdServer(certificates.server) as server:
        with connect(server) as client:
            client.starttls(context=ssl.create_default_context(cafile=certificates.ca_file))
            with pytest.raises(smtplib.SMTPSenderRefused, match="Must issue an AUTH command first"):
                client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
            assert sign_in(client, server.user, server.password) == 235
            client.sendmail("me@example.org", ["a@example.net", "b@example.net"], MESSAGE)
        (mail,) = server.messages()
        assert (mail.sender, sorted(mail.recipients)) == ("me@example.org", ["a@example.net", "b@example.net"])
        assert mail.content.endswith(MESSAGE.replace(b"\r\n", b"\n").partition(b"\n")[2])  # a Date comes behind the Subject
        assert server.process is not None
        started = [server.process.pid]
        for pid in started:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                started += map(int, file.read().split())
        assert len(started) > 5
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]
    assert not os.path.exists(server.folder)


def test_a_server_that_does_not_start_says_why() -> None:
    server = ServerProcess()
    with pytest.raises(RuntimeError, match="no such luck"):
        server.run(lambda port: ["sh", "-c", "echo no such luck"], b"x", dict(os.environ))
    assert not os.path.exists(server.folder)


@pytest.mark.parametrize("name", ["other_ca", "expired", "wrong_name", "untrusted"])
def test_each_wrong_certificate_is_refused(smtp_server: Start, certificates: Certificates, name: str) -> None:
    shown: Certificate = getattr(certificates, name, certificates.server)
    trusted = certificates.other_ca_file if name == "other_ca" else certificates.ca_file
    server = smtp_server(certificate=shown)
    with connect(server) as client, pytest.raises(ssl.SSLCertVerificationError):
        client.starttls(context=ssl.create_default_context(cafile=trusted))
    server.wait_for(lambda: server.sessions[0].closed)
    assert not server.transactions


def raw(server: ScriptedServer, data: bytes) -> bytes:
    """All that the server says to `data`, the connection's end included."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as replies:
            return replies.read()


def test_mail_is_recorded_as_it_came(smtp_server: Start) -> None:
    server = smtp_server()
    lines = [b"EHLO x", b"mail from:<me@example.org> BODY=8BITMIME", b"RCPT TO:<a@example.net>", b"DATA"]
    data = b"Subject: caf\xc3\xa9\r\n\r\n...two dots\r\n..\r\nend\r\n.\r\n"
    said = raw(server, b"\r\n".join([*lines, data + b"QUIT\r\n"]))
    (mail,) = server.accepted
    assert mail.mail_from == lines[1]
    assert mail.rcpt_to == [lines[2]]
    assert mail.recipients == [b"<a@example.net>"]
    assert mail.content == MESSAGE
    assert mail.data == data
    (session,) = server.sessions
    assert session.commands == [*lines, b"QUIT"]
    assert session.transcript[0] == ("S", b"220 relay.example.test ESMTP\r\n")
    assert b"".join(text for who, text in session.transcript if who == "S") == said


def test_pipelined_commands_are_answered_in_order_and_only_crlf_dot_ends(smtp_server: Start) -> None:
    server = smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no", "RCPT": b"250 2.1.5 fine"}, keywords=[])
    said = raw(
        server,
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bad@b>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nDATA\r\n"
        b".\n\n.\n.x\r\n.y\r\n\n.\r\n.\r\nQUIT\r\n",
    )
    codes = [line.split(b" ")[0] for line in said.splitlines()]
    assert codes == [b"220", b"250", b"250", b"550", b"250", b"354", b"250", b"221"]
    assert server.accepted[0].recipients == [b"<c@d>"]
    # The first line's dot was stuffed; one after a bare LF is text.
    assert server.accepted[0].content == b"\n\n.\n.x\r\ny\r\n\n.\r\n"


def test_chunks_and_the_empty_message(smtp_server: Start) -> None:
    server = smtp_server(keywords=["CHUNKING"])
    start = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\n"
    assert raw(server, start + b"BDAT 4\r\n.\r\n.BDAT 3 LAST\r\nxyzQUIT\r\n").count(b"\r\n250 ") == 5
    raw(server, start + b"DATA\r\n.\r\nQUIT\r\n")
    assert [mail.content for mail in server.accepted] == [b".\r\n.xyz", b""]


def test_orders_out_of_place_are_refused(smtp_server: Start) -> None:
    said = raw(smtp_server(), b"HELO x\r\nRCPT TO:<a@b>\r\nDATA\r\nBDAT 1\r\nxSTARTTLS\r\nAUTH PLAIN\r\nWHAT\r\nQUIT\r\n")
    assert [line[:3] for line in said.splitlines()] == [
        b"220", b"250", b"503", b"503", b"503", b"503", b"502", b"500", b"221"
    ]  # fmt: skip


def test_lmtp_answers_for_each_recipient_on_a_unix_socket(smtp_server: Start, spool_path: str) -> None:
    path = os.path.join(spool_path, "lmtp")
    server = smtp_server(lmtp=True, path=path, replies={"DOT <b@": b"452 4.2.2 full"})
    with smtplib.LMTP(path, local_hostname="x") as client:
        client.ehlo()
        client.mail("me@example.org")
        client.rcpt("a@example.net")
        client.rcpt("b@example.net")
        assert client.data("x")[0] == 250
        assert client.getreply() == (452, b"4.2.2 full")
    assert len(server.accepted) == 1


@pytest.mark.parametrize("point", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("action", [Action.CLOSE, Action.RESET])
def test_it_hangs_up_at_each_point(smtp_server: Start, point: str, action: Action) -> None:
    server = smtp_server(replies={point: action, "HELO": Action.CLOSE})
    with pytest.raises(OSError), connect(server) as client:  # smtplib's own exceptions are OSErrors too
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    server.wait_for(lambda: server.sessions[0].closed)
    assert [mail.content for mail in server.transactions if mail.content] == ([MESSAGE] if point == "DOT" else [])
    assert server.accepted == []


def test_a_reset_reaches_the_client_as_one(smtp_server: Start) -> None:
    server = smtp_server(replies={"GREETING": Action.RESET})
    with pytest.raises(ConnectionResetError):
        raw(server, b"")


def test_it_keeps_the_message_and_says_nothing(smtp_server: Start) -> None:
    server = smtp_server(replies={"DOT": Action.KEEP_AND_CLOSE})
    with pytest.raises(smtplib.SMTPServerDisconnected), connect(server) as client:
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    assert [mail.content for mail in server.accepted] == [MESSAGE]


def test_silence_lasts_until_the_client_goes(smtp_server: Start) -> None:
    server = smtp_server(replies={"MAIL": Action.SILENCE})
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"HELO x\r\nMAIL FROM:<>\r\nQUIT\r\n")
        server.wait_for(lambda: b"MAIL FROM:<>" in server.commands)
        assert not server.sessions[0].closed
    server.wait_for(lambda: server.sessions[0].closed)
    assert server.sessions[0].transcript[-1] != ("S", b"221 2.0.0 bye\r\n")


def test_a_gate_makes_a_hung_server_until_it_opens(smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("DATA")
    sending = threading.Thread(target=lambda: connect(server).sendmail("me@example.org", ["a@example.net"], MESSAGE))
    sending.start()
    gate.wait_reached()
    assert not server.accepted
    gate.open()
    sending.join()
    server.wait_for(lambda: server.accepted)


def test_closing_frees_who_hangs() -> None:
    pieces_gate = Gate()
    with ScriptedServer(replies={"NOOP": Pieces([b"250", pieces_gate])}) as server:
        gate = server.gate("HELO")
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(3)]
        clients[0].sendall(b"HELO x\r\n")
        clients[1].sendall(b"NOOP\r\n")
        gate.wait_reached()
        pieces_gate.wait_reached()
        server.wait_for(lambda: server.open_connections == 3)
    assert server.peak_connections == 3
    assert all(session.closed for session in server.sessions)
    for client in clients:
        client.close()


def test_a_reply_comes_in_pieces(smtp_server: Start) -> None:
    gate = Gate()
    server = smtp_server(replies={"EHLO": Pieces([b"250-relay\r\n25", gate, b"0 SIZE\r", b"\n"])})
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"EHLO x\r\n")
        with connection.makefile("rb") as replies:
            replies.readline()
            assert replies.readline() == b"250-relay\r\n"
            gate.wait_reached()
            gate.open()
            assert replies.readline() == b"250 SIZE\r\n"


def test_the_hook_decides_by_what_came_before(smtp_server: Start) -> None:
    def on(point: str, argument: bytes, session: Session) -> Answer | None:
        first = len(session.transactions) == 1
        return b"450 4.2.0 later" if point == "RCPT" and first and b"<a@" in argument else None

    server = smtp_server(on=on)
    with connect(server) as client:
        refused = client.sendmail("me@example.org", ["a@example.net", "b@example.net"], MESSAGE)
        assert refused == {"a@example.net": (450, b"4.2.0 later")}
        assert client.sendmail("me@example.org", ["a@example.net"], MESSAGE) == {}
    assert [mail.recipients for mail in server.accepted] == [[b"<b@example.net>"], [b"<a@example.net>"]]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_sign_in_over_starttls(smtp_server: Start, certificates: Certificates, mechanism: str) -> None:
    server = smtp_server(certificate=certificates.server, credentials=("me", "secret"))
    with connect(server) as client:
        client.ehlo()
        assert not client.has_extn("AUTH")
        client.starttls(context=ssl.create_default_context(cafile=certificates.ca_file))
        client.ehlo()
        assert not client.has_extn("STARTTLS")
        with pytest.raises(smtplib.SMTPSenderRefused, match="authentication required"):
            client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
        client.user, client.password = "me", "wrong"
        authenticate = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism]
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.auth(mechanism, authenticate)
        client.password = "secret"
        client.auth(mechanism, authenticate)
        assert client.docmd("AUTH", "PLAIN !")[0] == 501
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    assert server.sessions[0].user == "me"
    assert server.sessions[0].tls
    assert len(server.accepted) == 1


def test_sign_in_can_be_refused_by_the_script(smtp_server: Start) -> None:
    server = smtp_server(credentials=("me", "secret"), replies={"AUTH": b"454 4.7.0 not now"})
    with connect(server) as client, pytest.raises(smtplib.SMTPAuthenticationError, match="not now"):
        client.login("me", "secret")


def test_implicit_tls_and_a_cut_hand_shake(smtp_server: Start, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca_file)
    server = smtp_server(certificate=certificates.server, implicit_tls=True)
    with smtplib.SMTP_SSL("localhost", server.port, context=context, timeout=20) as client:
        client.sendmail("me@example.org", ["a@example.net"], MESSAGE)
    assert server.accepted
    cut = smtp_server(certificate=certificates.server, implicit_tls=True, replies={"HANDSHAKE": Action.CLOSE})
    with pytest.raises(OSError):
        smtplib.SMTP_SSL("localhost", cut.port, context=context, timeout=20)


def test_a_client_that_is_not_speaking_tls_is_recorded(smtp_server: Start, certificates: Certificates) -> None:
    server = smtp_server(certificate=certificates.server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection, suppress(OSError):
        connection.sendall(b"STARTTLS\r\n")
        with connection.makefile("rb") as replies:
            assert replies.readline().startswith(b"220")
            assert replies.readline().startswith(b"220")
            connection.sendall(b"EHLO in the clear\r\n")
            replies.read()
    server.wait_for(lambda: server.sessions[0].closed)
    assert server.sessions[0].tls_error


def test_two_servers_share_a_port_on_two_addresses(smtp_server: Start) -> None:
    port = free_port()
    first, second = smtp_server(port=port), smtp_server(port=port, address="127.0.0.2")
    assert (first.port, second.port, second.address) == (port, port, "127.0.0.2")


def test_waiting_for_what_does_not_happen_fails(smtp_server: Start) -> None:
    with pytest.raises(AssertionError, match="did not happen"):
        smtp_server().wait_for(lambda: False, timeout=0.01)


def test_it_hangs_up_after_421_and_stays_after_554(smtp_server: Start) -> None:
    assert raw(smtp_server(replies={"MAIL": b"421 4.3.2 going down"}), b"HELO x\r\nMAIL FROM:<>\r\n").endswith(b"down\r\n")
    assert raw(smtp_server(replies={"GREETING": b"554 no"}), b"QUIT\r\n") == b"554 no\r\n221 2.0.0 bye\r\n"
