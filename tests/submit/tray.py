"""Where a session's messages go in tests: kept in memory, with whatever trouble a test asks for."""

from dataclasses import dataclass, field

from smartrelay.submit.command import Sender
from smartrelay.submit.protocol import Rules
from smartrelay.submit.session import Session


@dataclass
class Message:
    """One message on its way in."""

    tray: "Tray"
    hello: str
    protocol: str
    sender: Sender
    recipients: list[tuple[str, str, str]] = field(default_factory=list)
    text: bytes = b""

    def add(self, addresses: list[str], notify: str = "", orcpt: str = "") -> None:
        self.tray.meet(f"add {addresses[0]}")
        self.recipients += [(address, notify, orcpt) for address in addresses]

    def write(self, text: bytes) -> None:
        self.tray.meet("write")
        self.text += text
        self.tray.longest_piece = max(self.tray.longest_piece, len(text))

    def commit(self) -> str:
        self.tray.meet("commit")
        self.tray.open -= 1
        self.tray.messages.append(self)
        return f"ID{len(self.tray.messages)}"

    def discard(self) -> None:
        self.tray.open -= 1


class Tray:
    """messages: those accepted. open: those begun and neither accepted nor discarded. troubles: what to raise at which step
    ("begin", "add ADDRESS", "write", "commit")."""

    def __init__(self, **troubles: Exception) -> None:
        self.troubles = {step.replace("_", " "): trouble for step, trouble in troubles.items()}
        self.messages: list[Message] = []
        self.open = 0
        self.longest_piece = 0
        self.bugs: list[Exception] = []

    def begin(self, hello: str, protocol: str, sender: Sender) -> Message:
        self.meet("begin")
        self.open += 1
        return Message(self, hello, protocol, sender)

    def meet(self, step: str) -> None:
        if step in self.troubles:
            raise self.troubles[step]


PIPE = Rules("host.example.org", 1000, tolerant=True)
NEIGHBOUR = Rules("host.example.org", 1000)
NETWORK = Rules("host.example.org", 1000, one_at_a_time=True)


def session(tray: Tray, rules: Rules = NEIGHBOUR) -> Session:
    return Session(rules, tray, tray.bugs.append)


def said(one: Session, *pieces: bytes) -> list[str]:
    """The lines of the replies to what is said piece by piece."""
    return b"".join(one.receive(piece) for piece in pieces).decode("ascii").splitlines()


def codes(lines: list[str]) -> list[str]:
    """The codes of the replies, the enhanced one where it has one."""
    return [line[: 9 if line[4:5] in "245" and line[5:6] == "." else 3] for line in lines if line[3:4] != "-"]
