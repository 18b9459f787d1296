"""A dialogue for a person to read along: what is said on a connection, without its secrets and without any text of messages.

Nothing is kept here, and nothing is made where nobody listens.
"""

from collections.abc import Callable, Iterable

from smartrelay.mail.status import visible
from smartrelay.smtp.dialogue import Answer, Phase

Listener = Callable[[str, str], None]
"""Told a peer ("host[address]:port") and one printable line of what is said on its connection; called in many threads."""

HIDDEN = "[hidden]"


class Transcript:
    """Tells a listener what is said on one connection: `C: ` before our lines, `S: ` before the server's."""

    def __init__(self, peer: str, listener: Listener) -> None:
        self._peer = peer
        self._listener = listener

    def sent(self, commands: Iterable[tuple[Phase, bytes]]) -> None:
        """These commands went out; of a sign-in only the mechanism's name is told (RFC 4954)."""
        for phase, line in commands:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._tell(f"C: {_without_secret(text) if phase is Phase.AUTH else text}")

    def text(self, octets: int) -> None:
        """A message of that many octets goes out."""
        self._tell(f"C: [the message, {octets} octets]")

    def received(self, answer: Answer) -> None:
        """A reply has come; a challenge is not told."""
        if answer.reply is None:
            return
        code, lines = answer.reply.code, answer.reply.lines
        if answer.phase is Phase.AUTH and answer.kind == 3:
            lines = (HIDDEN,)
        for number, line in enumerate(lines, 1):
            self._tell(f"S: {code}{'-' if number < len(lines) else ' '}{line}".rstrip())

    def secured(self, result: str) -> None:
        """The hand-shake is over. result: protocol and cipher, or why there is no TLS."""
        self._tell(f"TLS: {result}")

    def _tell(self, line: str) -> None:
        self._listener(self._peer, visible(line))


def _without_secret(text: str) -> str:
    verb, _, rest = text.partition(" ")
    if verb != "AUTH":
        return HIDDEN  # a response to a challenge
    name, _, initial = rest.partition(" ")
    return f"AUTH {name} {HIDDEN}" if initial else f"AUTH {name}"
