"""What the tests of the client stand on: messages, sessions with a server on loopback, and what they said of each recipient."""

import io
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from smartrelay.config import Timeouts
from smartrelay.mail.envelope import Facts
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import Policy, open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

NAME = "client.example.test"
TEXT = b"Subject: x\n\n.body\n"
R1, R2, R3 = "r1@b.example", "r2@b.example", "r3@b.example"
PATIENT = Timeouts(lookup=20, connect=20, greeting=20, command=20, data=20, data_block=20, data_end=20, quit=20)
SHORT = 0.15


class HasPort(Protocol):
    """Whatever listens on a loopback port."""

    port: int


def facts_of(text: bytes) -> Facts:
    octets = len(text) + text.count(b"\n") + (2 if text and not text.endswith(b"\n") else 0)
    longest = max(map(len, text.split(b"\n")))
    return Facts(len(text), octets, longest, int(not text.isascii()), int(b"\0" in text), int(b"\r" in text))


def message(
    recipients: Sequence[str] = (R1, R2), sender: str = "s@a.example", text: bytes = TEXT, cargo: object = None, **more: str
) -> Transaction:
    """A transaction; more: notify and orcpt (of all recipients), ret, envid."""
    wanted = [(recipient, more.get("notify", ""), more.get("orcpt", "")) for recipient in recipients]
    ret, envid = more.get("ret", ""), more.get("envid", "")
    return Transaction(sender, wanted, lambda: io.BytesIO(text), facts_of(text), ret, envid, cargo)


def numbered(count: int, *, bad: Callable[[int], bool] = lambda number: False) -> list[Transaction]:
    """Messages that say their number in sender, recipient and text; those that are `bad` go to a recipient that is refused."""
    return [
        message(
            [f"{'bad' if bad(number) else 'r'}{number}@b.example"],
            f"s{number}@a.example",
            b"Subject: %d\n\n" % number + b"line %d\n" % number * 20,
            number,
        )
        for number in range(count)
    ]


def policy(**changes: Any) -> Policy:
    return Policy(**{"hostname": NAME, "timeouts": PATIENT, **changes})


def target(server: HasPort, host: str = "localhost") -> Target:
    return Target(host, server.port)


def opened(server: HasPort, **changes: Any) -> Session:
    """A session with a server that lets us in."""
    session = open_session(target(server), policy(**changes))
    assert isinstance(session, Session), session
    return session


def refusal(server: HasPort, **changes: Any) -> Answer:
    """Why a server does not let us in."""
    answer = open_session(target(server), policy(**changes))
    assert isinstance(answer, Answer)
    return answer


@dataclass
class Told:
    """What a session said: by transaction, the answers by recipient. Nobody is told of twice."""

    answers: dict[Transaction, dict[int, Answer]] = field(default_factory=dict)

    def __call__(self, wanted: Transaction, answers: dict[int, Answer]) -> None:
        known = self.answers.setdefault(wanted, {})
        assert not known.keys() & answers.keys(), "a recipient was told of twice"
        known |= answers

    def of(self, wanted: Transaction) -> list[Answer]:
        """One answer for each recipient, in order."""
        found = self.answers.get(wanted, {})
        assert sorted(found) == list(range(len(wanted.recipients))), "some recipients were not told of"
        return [found[index] for index in sorted(found)]


def relay(session: Session, *messages: Transaction, close: bool = True) -> list[list[Answer]]:
    """Sends the messages over one session, and gives the answers for each that it took: one for each recipient."""
    waiting, pulled, told = deque(messages), [], Told()

    def pull() -> Transaction | None:
        if not waiting:
            return None
        pulled.append(waiting.popleft())
        return pulled[-1]

    session.relay(pull, told)
    if close:
        session.close()
    assert set(told.answers) == set(pulled)
    return [told.of(each) for each in pulled]


def one(session: Session, wanted: Transaction, *, close: bool = True) -> list[Answer]:
    """The answers for the only message."""
    (answers,) = relay(session, wanted, close=close)
    return answers


def relay_all(open_one: Callable[[], Session], messages: Iterable[Transaction], most: int = 50) -> dict[object, Answer]:
    """Messages with one recipient, over as many sessions as it takes: who was not begun goes over the next one. The last
    answer by cargo."""
    waiting, found = deque(messages), {}
    while waiting:
        assert most > 0, "the sessions lead nowhere"
        most -= 1
        back: list[Transaction] = []

        def tell(wanted: Transaction, answers: dict[int, Answer], back: list[Transaction] = back) -> None:
            (answer,) = answers.values()
            if answer.trouble is Trouble.UNTOUCHED:
                back.append(wanted)
            else:
                assert wanted.cargo not in found, "a message was told of twice"
                found[wanted.cargo] = answer

        session = open_one()
        session.relay(lambda: waiting.popleft() if waiting else None, tell)
        session.close()
        waiting.extendleft(reversed(back))
    return found


def codes(answers: Iterable[Answer]) -> list[tuple[Phase, int]]:
    """Phase and reply code, 0 where trouble came instead."""
    return [(answer.phase, answer.reply.code if answer.reply and answer.trouble is None else 0) for answer in answers]


def in_doubt(answer: Answer) -> bool:
    """Whether the server may have taken the message though it did not say so."""
    return answer.phase in (Phase.END, Phase.CHUNK) and answer.trouble not in (None, Trouble.UNTOUCHED)


def verbs(server: ScriptedServer) -> list[str]:
    """The verbs that the server was told, but for the first and the last."""
    return [line.split(b" ")[0].decode() for line in server.commands if not line.startswith((b"EHLO", b"QUIT"))]


def said(server: ScriptedServer, session: int = 0) -> list[bytes]:
    """What the client said in one session, read by read."""
    return [octets for who, octets in server.sessions[session].transcript if who == "C"]
