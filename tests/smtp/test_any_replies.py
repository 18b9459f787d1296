"""Any replies and drops, for messages with several recipients: each recipient has the verdict that the server gave for him."""

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail.status import DELIVERED, FAILED, Status
from smartrelay.relay.blame import judge
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Trouble
from smartrelay.smtp.opening import open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction
from tests.smtp.scene import message, policy
from tests.support.queues import few
from tests.support.smtp_server import Action, ScriptedServer
from tests.support.smtp_server import Answer as Said
from tests.support.smtp_server import Session as Seen

MAD = (b"nonsense", b"250-a\r\n550 b", b"550-a\r\n250 b")
"""What is no reply, whatever it begins with."""

REPLIES: list[Said] = [
    b"250 2.1.0 odd",
    b"251 2.1.5 elsewhere",
    b"299 odd",
    b"354 what?",
    b"421 4.3.2 bye",
    b"450 4.2.1 no",
    b"452 4.5.3 too many",
    b"452 4.2.2 full",
    b"530 5.7.0 no",
    b"550-5.1.1 no\r\n550 5.1.1 such user",
    b"552 too many",
    b"552 5.2.2 full",
    b"554 5.7.1 no",
    *MAD,
    Action.CLOSE,
    Action.RESET,
    Action.KEEP_AND_CLOSE,
]
SCRIPTS = st.lists(
    st.tuples(st.sampled_from(["MAIL", "RCPT", "DATA", "DOT", "RSET"]), st.integers(1, 16), st.sampled_from(REPLIES)),
    max_size=8,
)
KINDS: list[tuple[list[str], bool, int]] = [
    ([], False, 1),
    (["PIPELINING"], False, 1),
    (["PIPELINING", "CHUNKING"], False, 3),
    ([], True, 1),
    (["PIPELINING"], True, 1),
    (["PIPELINING", "CHUNKING"], True, 3),
]
"""Extensions, whether it is LMTP, and messages in doubt at once."""

MESSAGES, RECIPIENTS, MOST = 5, 4, 60


class Server:
    """Answers by the script, and knows who has which message, and whom it refused for good: number and recipient.

    out_of_turn: whether a MAIL came while a transaction was open.
    """

    def __init__(self, script: list[tuple[str, int, Said]], *, lmtp: bool) -> None:
        self.got: Counter[tuple[int, str]] = Counter()
        self.refused: set[tuple[int, str]] = set()
        self.out_of_turn = False
        self._script = {(point, number): said for point, number, said in script}
        self._met: Counter[str] = Counter()
        self._lmtp = lmtp

    def on(self, point: str, argument: bytes, session: Seen) -> Said | None:
        self._met[point] += 1
        said = self._script.get((point, self._met[point]))
        if said is Action.KEEP_AND_CLOSE and point != "DOT":
            said = None
        if point == "MAIL":
            self.out_of_turn |= session.transaction is not None
        kind = said[:1] if isinstance(said, bytes) and said not in MAD else b""
        if point == "DOT" and (kind == b"2" or said in (None, Action.KEEP_AND_CLOSE)):
            self.got.update(self._concerned(point, argument, session))
        if kind == b"5":
            self.refused |= self._concerned(point, argument, session)
        return said

    def _concerned(self, point: str, argument: bytes, session: Seen) -> set[tuple[int, str]]:
        """Whose affair an answer is."""
        if point == "MAIL":
            number = number_of(argument)
            return {(number, path) for path in paths(number)}
        if session.transaction is None or point == "RSET":
            return set()
        number = number_of(session.transaction.mail_from)
        if point == "DOT":
            assert session.transaction.content.startswith(b"Subject: %d\r\n" % number)
        each = [argument] if point == "RCPT" or (point == "DOT" and self._lmtp) else session.transaction.recipients
        found = {(number, path[path.index(b"<") + 1 : path.index(b">")].decode()) for path in each}
        assert found <= {(number, path) for path in paths(number)}, "another message's envelope"
        return found


def number_of(argument: bytes) -> int:
    return int(argument.partition(b"<s")[2].partition(b"@")[0])


def paths(number: int) -> list[str]:
    return [f"r{number}-{each}@b.example" for each in range(RECIPIENTS)]


def relayed(port: int, *, lmtp: bool, window: int) -> dict[tuple[int, str], list[Status]]:
    """All that was said of each recipient, over as many sessions as it takes: who was untouched goes over the next."""
    waiting = deque(
        message(paths(number), f"s{number}@a.example", b"Subject: %d\n\n.line\n" % number, number) for number in range(MESSAGES)
    )
    found: dict[tuple[int, str], list[Status]] = {}
    back: list[Transaction] = []

    def tell(wanted: Transaction, answers: dict[int, Answer]) -> None:
        assert isinstance(wanted.cargo, int)
        again = [wanted.recipients[index] for index, answer in answers.items() if answer.trouble is Trouble.UNTOUCHED]
        if again:
            back.append(Transaction(wanted.reverse_path, again, wanted.text, wanted.facts, cargo=wanted.cargo))
        for index, answer in answers.items():
            if answer.trouble is not Trouble.UNTOUCHED:
                found.setdefault((wanted.cargo, wanted.recipients[index][0]), []).append(judge(answer, "h").status)

    for _ in range(MOST):
        session = open_session(Target("localhost", port), policy(tls="none", lmtp=lmtp, window=window))
        assert isinstance(session, Session)
        session.relay(lambda: waiting.popleft() if waiting else None, tell)
        session.close()
        waiting.extendleft(reversed(back))
        back.clear()
        if not waiting:
            return found
    raise AssertionError("the sessions lead nowhere")


@few
@given(SCRIPTS, st.sampled_from(KINDS))
def test_each_recipient_has_the_verdict_that_was_given_for_him(
    script: list[tuple[str, int, Said]], kind: tuple[list[str], bool, int]
) -> None:
    """Sent is who has it, and has it once; who has it without our knowing is in doubt; who failed was refused for good; each is
    told of once, and no transaction begins inside another."""
    # A-015 A-021 A-029 A-030 A-050 A-051 A-052 A-054 A-055 A-059 A-060 G-023 G-024
    keywords, lmtp, window = kind
    theirs = Server(script, lmtp=lmtp)
    with ScriptedServer(on=theirs.on, keywords=keywords, lmtp=lmtp) as server:
        found = relayed(server.port, lmtp=lmtp, window=window)
    assert len(found) == MESSAGES * RECIPIENTS
    assert not theirs.out_of_turn
    for who, (status,) in found.items():
        if status.action == DELIVERED:
            assert theirs.got[who] == 1
        elif theirs.got[who]:
            assert status.doubt and theirs.got[who] == 1, (who, status)
        if status.action == FAILED:
            assert who in theirs.refused, (who, status)
