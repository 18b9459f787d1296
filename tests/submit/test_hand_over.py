"""Handing a message over: what is said on the socket, and what becomes of a door that closes."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from smartrelay.errors import AddressError, DataError, NoMailbox, NotPermitted, NotTheOwner, SmartRelayError, TooLarge, TryAgain
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.settings import Settings
from smartrelay.submit import hand_over
from smartrelay.submit.hand_over import HandOver
from smartrelay.submit.session import Session
from tests.submit.tray import NEIGHBOUR, Tray
from tests.support.clock import FakeClock

REFUSAL = NotTheOwner("only root may")


class Door:
    """Listens at `path`; each connection gets the next of `answers`: a session into `tray`, or octets and the end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.tray = Tray()
        self.answers: list[bytes | None] = []
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            answer = self.answers.pop(0) if self.answers else None
            with connection:
                try:
                    self.answer(connection, answer)
                except OSError:
                    pass

    def answer(self, connection: socket.socket, answer: bytes | None) -> None:
        if answer is not None:
            connection.sendall(answer)
            return
        one = Session(NEIGHBOUR, self.tray, self.tray.bugs.append)
        connection.sendall(one.greeting())
        while data := connection.recv(1 << 16):
            connection.sendall(one.receive(data))
        one.close()


@pytest.fixture
def door(tmp_path: os.PathLike[str]) -> Iterator[Door]:
    found = Door(f"{os.fspath(tmp_path)}/s")
    yield found
    found.listener.shutdown(socket.SHUT_RDWR)
    found.listener.close()
    found.thread.join(20)


class Naps:
    """Sleep that takes no time but on the clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.naps: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.clock.advance(seconds)


def handed(path: str, recipients: list[Recipient], text: bytes = b"x\n", naps: Naps | None = None, **envelope: str) -> HandOver:
    settings = Settings()
    settings.submit_socket = path
    sender = envelope.pop("sender", "a@b")
    wanted = Envelope(sender, recipients, 0.0, 0, **envelope)  # type: ignore[arg-type]
    naps = naps or Naps()
    one = HandOver(settings, "c.example", wanted, REFUSAL, naps, naps.clock)
    try:
        for start in range(0, len(text), 7000):
            one.write(text[start : start + 7000])
        one.commit()
    finally:
        one.discard()
    return one


TO = [Recipient("c@d")]


def test_envelope_and_text_arrive_as_they_are(door: Door) -> None:
    recipients = [Recipient("c@d", "NEVER", "rfc822;c+2Bx@d"), *(Recipient(f"r{number}@d") for number in range(250))]
    text = b"Subject: x\n\n.\n..y\n\r\rbare\r\n" + b"z" * 200_000
    one = handed(door.path, recipients, text, sender="", ret="HDRS", envid="a +b")
    assert one.queue_id == "ID1"
    (message,) = door.tray.messages
    assert message.recipients[0] == ("c@d", "NEVER", "rfc822;c+2Bx@d")
    assert [each[0] for each in message.recipients] == [each.address for each in recipients]
    assert (message.sender.path, message.sender.ret, message.sender.envid) == ("", "HDRS", "a +b")
    assert message.text.replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")
    assert message.hello == "c.example"


def test_an_address_that_is_not_ascii_is_told_of(door: Door) -> None:
    handed(door.path, [Recipient("jö@d")])
    assert door.tray.messages[0].protocol == "UTF8SMTP"


@pytest.mark.parametrize("closed", [b"", b"421 4.7.0 h too many\r\n", b"220 x\r\n", b"220 x\r\n250 y\r\n421 4.3.2 going\r\n"])
def test_a_door_that_closes_is_tried_again(door: Door, closed: bytes) -> None:
    door.answers = [closed] * 4
    naps = Naps()
    handed(door.path, TO, naps=naps)
    assert len(door.tray.messages) == 1
    assert naps.naps == [0.02, 0.05, 0.1, 0.2]


def test_a_door_that_stays_closed_is_for_another_time(door: Door) -> None:
    door.answers = [b""] * 100
    naps = Naps()
    with pytest.raises(TryAgain, match="nobody takes mail at it; nothing was accepted"):
        handed(door.path, TO, naps=naps)
    assert 9 < sum(naps.naps) <= hand_over.PATIENCE
    assert door.connections == len(naps.naps) + 1


def test_nobody_listening_is_tried_again_and_no_socket_is_not(tmp_path: os.PathLike[str]) -> None:
    path = f"{os.fspath(tmp_path)}/s"
    naps = Naps()
    with pytest.raises(TryAgain, match=r"only root may; and there is no .*/s to hand mail over at; start "):
        handed(path, TO, naps=naps)
    assert naps.naps == []
    with socket.socket(socket.AF_UNIX) as once:
        once.bind(path)
    naps = Naps()
    with pytest.raises(TryAgain, match="nobody takes mail"):
        handed(path, TO, naps=naps)
    assert len(naps.naps) > 10


def test_a_queue_that_is_full_is_waited_in(tmp_path: os.PathLike[str]) -> None:
    """Whoever only looked again now and then would find it full each time that others fill it."""
    path, naps = f"{os.fspath(tmp_path)}/s", Naps()
    with ExitStack() as held:
        door = held.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(path)
        door.listen(0)
        door.settimeout(20)
        held.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        client = threading.Thread(target=lambda: handed(path, TO, naps=naps))
        client.start()
        # where it does not wait it has had all its naps by then: they take no time
        client.join(0.1)
        door.accept()[0].close()
        accepted = held.enter_context(door.accept()[0])
        tray = Tray()
        one = Session(NEIGHBOUR, tray, tray.bugs.append)
        accepted.sendall(one.greeting())
        with suppress(BrokenPipeError, ConnectionResetError):  # it does not wait for the answer to QUIT
            while data := accepted.recv(1 << 16):
                accepted.sendall(one.receive(data))
        client.join(20)
    assert len(tray.messages) == 1
    assert naps.naps == []


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        ({"begin": TooLarge("x")}, TooLarge),
        ({"begin": TryAgain("x")}, TryAgain),
        ({"begin": NotPermitted("x")}, NotPermitted),
        ({"add c@d": AddressError("x")}, AddressError),
        ({"add c@d": NoMailbox("x")}, NoMailbox),
        ({"write": TooLarge("x")}, TooLarge),
        ({"commit": DataError("x")}, DataError),
        ({"commit": RuntimeError("x")}, TryAgain),
    ],
)
def test_what_is_said_against_a_message_is_raised(
    door: Door, trouble: dict[str, Exception], raised: type[SmartRelayError]
) -> None:
    door.tray.troubles = trouble
    with pytest.raises(raised) as caught:
        handed(door.path, TO, b"y" * 300_000)
    assert type(caught.value) is raised
    assert not str(caught.value)[:1].isdigit()
    assert not door.tray.messages


GOOD = b"220 x\r\n250-x\r\n250 y\r\n250 2.1.0 Ok\r\n"


@pytest.mark.parametrize("heard", [GOOD, GOOD + b"250 2.1.5 Ok\r\n", GOOD + b"250 2.1.5 Ok\r\n25"])
def test_an_end_without_an_answer_is_no_yes(door: Door, heard: bytes) -> None:
    """An end from the recipients on is for whoever sends it to try again: the message may be there."""
    door.answers = [heard]
    with pytest.raises(TryAgain, match="has gone, and did not say that it accepted the message"):
        handed(door.path, TO)
    assert door.connections == 1


@pytest.mark.parametrize("when", [0, 1])
def test_a_message_that_is_taken_back_leaves_nothing(door: Door, when: int) -> None:
    settings = Settings()
    settings.submit_socket = door.path
    one = HandOver(settings, "c", Envelope("a@b", TO, 0.0, 0), REFUSAL)
    one.write(b"x" * (100_000 * when))
    one.discard()
    door.listener.shutdown(socket.SHUT_RDWR)
    door.thread.join(20)
    assert (door.tray.open, door.tray.messages) == (0, [])
