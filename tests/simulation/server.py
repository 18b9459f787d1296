"""Servers within this process: what is sent to one is answered before `send` returns, so that a month takes no time.

The client's end is a real socket; the other end is worked by a state machine that says what the world wants of it.
"""

import re
import socket
from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.steps import Steps

CLOSE = "close"
KEEP_AND_CLOSE = "keep and close"
"""What a world may say instead of a reply: the connection ends, and in the second case the message has been taken."""


@dataclass
class Letter:
    """What a server was given. key: the Message-ID."""

    host: str
    key: str
    recipients: list[str]
    refused: list[str] = field(default_factory=list)
    text: str = ""


class Answers(Protocol):
    """What a world decides of a server's replies; "" for the usual yes."""

    def reply(self, host: str, point: str, address: str, letter: Letter) -> str:
        """At MAIL, RCPT (with its address), DATA and DOT (with LMTP: of one recipient)."""

    def took(self, letter: Letter, recipients: list[str], *, said: bool) -> None:
        """A message was taken for these; said: whether the server says so."""

    def offers_dsn(self, host: str) -> bool:
        """Whether it sends reports of success itself."""


class Plug(socket.socket):
    """The client's end of a connection to a server."""

    def __init__(self, host: str, world: Answers, steps: Steps, *, lmtp: bool = False, greeting: str = "220 ready") -> None:
        ours, self._theirs = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self._host, self._world, self._steps, self._lmtp = host, world, steps, lmtp
        self._octets = b""
        self._in_text = False
        self._letter = Letter(host, "", [])
        self._say(greeting)

    def send(self, data: object, flags: int = 0) -> int:
        """Gives all to the server, who answers at once."""
        self._steps.step("send")
        octets = bytes(data)  # type: ignore[call-overload]
        self._octets += octets
        while self._theirs.fileno() >= 0 and self._take():
            pass
        return len(octets)

    def getpeername(self) -> tuple[str, int]:
        """An address, as if this were TCP."""
        return "192.0.2.1", 25

    def close(self) -> None:
        """Ends both ends."""
        self._theirs.close()
        super().close()

    def _take(self) -> bool:
        """Takes one command or one text, if it is there whole."""
        if self._in_text:
            text, end, rest = (b"\r\n" + self._octets).partition(b"\r\n.\r\n")
            if end:
                self._octets, self._in_text = rest, False
                self._letter.text = text.decode("latin-1")
                found = re.search(r"(?mi)^Message-ID: *(\S+)", self._letter.text)
                self._letter.key = found[1] if found else ""
                self._finish()
            return bool(end)
        line, end, rest = self._octets.partition(b"\r\n")
        if end:
            self._octets = rest
            self._command(line.decode("latin-1"))
        return bool(end)

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb in ("EHLO", "LHLO"):
            self._say("250-ready\r\n250-PIPELINING\r\n250 " + ("DSN" if self._world.offers_dsn(self._host) else "HELP"))
        elif verb == "MAIL":
            self._letter = Letter(self._host, "", [])
            self._say(self._world.reply(self._host, "MAIL", "", self._letter) or "250 2.1.0 ok")
        elif verb == "RCPT":
            self._recipient(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA":
            self._in_text = bool(self._letter.recipients)
            self._say("354 go" if self._in_text else "503 5.5.1 no recipients")
        elif verb == "QUIT":
            self._say("221 bye")
            self._theirs.close()
        else:
            self._say("250 ok")

    def _recipient(self, address: str) -> None:
        reply = self._world.reply(self._host, "RCPT", address, self._letter) or "250 2.1.5 ok"
        if reply.startswith("2"):
            self._letter.recipients.append(address)
        elif reply.startswith("5"):
            self._letter.refused.append(address)
        self._say(reply)

    def _finish(self) -> None:
        """The text has come; with LMTP each recipient has an answer of its own."""
        for recipients in [[each] for each in self._letter.recipients] if self._lmtp else [self._letter.recipients]:
            if self._theirs.fileno() < 0:
                return
            reply = self._world.reply(self._host, "DOT", recipients[0], self._letter) or "250 2.0.0 taken"
            if reply.startswith("2") or reply == KEEP_AND_CLOSE:
                self._world.took(self._letter, recipients, said=reply != KEEP_AND_CLOSE)
                self._steps.step("taken")
            self._say(CLOSE if reply == KEEP_AND_CLOSE else reply)

    def _say(self, reply: str) -> None:
        if self._theirs.fileno() < 0:
            return
        if reply == CLOSE:
            self._theirs.close()
        else:
            self._theirs.send(reply.encode() + b"\r\n")
