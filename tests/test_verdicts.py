"""Any sequence of verdicts, through the real queue, ledger and notices: every recipient ends exactly once, in a final state,
and exactly the notices are written that NOTIFY asks for (laws 2, 3 and 11; RFC 3461 section 5.2).

What is expected is worked out here a second time, from the words of the laws.
"""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import event, given
from hypothesis import strategies as st

from smartrelay.config import RETRY
from smartrelay.mail.status import Status
from smartrelay.relay.ledger import Consignment
from tests.support.clock import FakeClock
from tests.support.desk import ACCOUNT, DOWN, LATER, LOST, NO, RELAYED, TO_MAILBOX, YES, Desk
from tests.support.queues import files, many, scratch

HOUR, DAY = 3600.0, 86400.0
LIFETIME, WARN_AFTER, MOST = 2 * DAY, (4 * HOUR, DAY), 2 * max(RETRY)
ENDS = {NO: "failed", YES: "", RELAYED: "relayed", TO_MAILBOX: "delivered"}

VERDICTS = st.sampled_from([LATER, LATER, LATER, LOST, DOWN, ACCOUNT, NO, YES, RELAYED, TO_MAILBOX])
NOTIFY = st.sampled_from(
    ["", "NEVER", "FAILURE", "DELAY", "SUCCESS", "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"]
)
STEPS = st.sampled_from([0.0, 60.0, HOUR, 3 * HOUR, 7 * HOUR, 9 * DAY, -HOUR, -400 * DAY, 400 * DAY])


@dataclass
class Round:
    """Some passes with the same outcome. step: seconds before each; verdicts: what would come of each recipient; budget: the
    next hop whose rate is used up, if it is one of those that there are; another: whether the next pass is another process's.
    """

    step: float
    verdicts: list[Status]
    times: int = 1
    budget: int = 2
    another: bool = False


FOUR = st.lists(VERDICTS, min_size=4, max_size=4)
ROUNDS = st.lists(
    st.builds(Round, STEPS, FOUR, st.sampled_from([1, 1, 5, 12]), st.sampled_from([0, 1, 2, 2, 2]), st.booleans()), max_size=8
)
LAST = Round(3 * HOUR, [LATER] * 4)


@dataclass
class Expected:
    """The laws' own account of one message. now: of this pass."""

    notify: list[str]
    sender: bool
    arrived: float
    age: list[float] = field(default_factory=lambda: [0.0] * 4)
    ended: list[str | None] = field(default_factory=lambda: [None] * 4)
    warned: list[int] = field(default_factory=lambda: [0] * 4)
    notices: list[dict[str, str]] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = [self.arrived] * 4

    @property
    def waiting(self) -> list[int]:
        return [index for index in range(len(self.notify)) if self.ended[index] is None]

    def pass_by(self, index: int, now: float, *, counts: bool) -> None:
        """Time has gone by for a recipient."""
        self.age[index] += min(max(now - self.last[index], 0.0), MOST) if counts else 0.0
        self.last[index] = now

    def attempt(self, verdicts: dict[int, Status], now: float) -> None:
        """One next hop's verdicts at a time."""
        notice: dict[str, str] = {}
        for index, status in sorted(verdicts.items()):
            self.pass_by(index, now, counts=status is not ACCOUNT)
            told = self._told(index, status, now)
            if told and self._wants(index, told):
                notice[address(index)] = told
        if notice:
            self.notices.append(notice)

    def _told(self, index: int, status: Status, now: float) -> str:
        if status in ENDS:
            self.ended[index] = "bounced" if status is NO else "sent"
            return ENDS[status]
        old = not 0 <= now - self.arrived < LIFETIME and self.age[index] >= LIFETIME
        if status in (LATER, LOST) and old:
            self.ended[index] = "expired"
            return "failed"
        level = sum(self.age[index] >= each for each in WARN_AFTER)
        if level <= self.warned[index] or not self._wants(index, "delayed"):
            return ""
        self.warned[index] = level
        return "delayed"

    def _wants(self, index: int, told: str) -> bool:
        if not self.sender:
            return told == "failed"  # the postmaster's
        words = self.notify[index].split(",") if self.notify[index] else ["FAILURE", "DELAY"]
        return {"failed": "FAILURE", "delayed": "DELAY"}.get(told, "SUCCESS") in words


def address(index: int) -> str:
    return f"{'ab'[index % 2]}{index}@x"


def run(desk: Desk, one: str, expected: Expected, each: Round) -> None:
    """One pass: the even recipients are at one next hop, the odd ones at another."""
    desk.clock.advance(each.step)
    now = desk.clock()
    desk.queue.read_directory(everything=True)
    hops = [found for side in (0, 1) if (found := [index for index in expected.waiting if index % 2 == side])]
    desk.ledger.plan(one, len(hops))
    consignments = [Consignment(desk.ledger.take(one), "work", indices, now) for indices in hops]
    for side, consignment in enumerate(consignments):
        desk.ledger.prepare(consignment)
        indices = consignment.recipients
        if each.budget == side:
            desk.ledger.postpone(consignment, now + HOUR)
            for index in indices:
                expected.pass_by(index, now, counts=False)
        else:
            verdicts = {index: each.verdicts[index] for index in indices}
            desk.ledger.write(consignment, verdicts)
            expected.attempt(verdicts, now)
        desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    if each.another:
        desk.begin(**SETTINGS)


SETTINGS = {"lifetime": LIFETIME, "warn_after": WARN_AFTER, "postmaster": "admin@example.org"}


@many
@given(st.lists(NOTIFY, min_size=1, max_size=4), st.booleans(), ROUNDS)
def test_every_recipient_ends_once_with_the_notices_that_were_asked_for(
    notify: list[str], sender: bool, rounds: list[Round]
) -> None:  # C-005 C-039 C-060 C-061 C-062 C-064 C-066 C-067 C-068 C-069 C-070
    with scratch() as folder:
        desk = Desk(folder, FakeClock(), **SETTINGS)
        addresses = [address(index) for index in range(len(notify))]
        one = desk.planned(*addresses, sender="s@example.org" if sender else "", notify=notify)
        desk.begin(**SETTINGS)
        expected = Expected(notify, sender, desk.clock())
        for each in rounds:
            for _ in range(each.times):
                if expected.waiting:
                    run(desk, one, expected, each)
        passes = 0
        while expected.waiting:
            run(desk, one, expected, LAST)
            passes += 1
            assert passes <= 3 * LIFETIME / LAST.step
        event(f"ended as {sorted(Counter(expected.ended[: len(notify)]).items())}")
        # nothing of the message is left, and nobody came to two ends
        left = [name for names in files(desk.spool).values() for name in names if name.startswith(one)]
        assert left == []
        ends = [line.partition("status=")[2].partition(" ")[0] for line in desk.lines if f"{one}: to=" in line]
        found = Counter(end for end in ends if end != "deferred")
        assert found == Counter(expected.ended[: len(notify)])
        assert [told.actions for told in desk.told()] == expected.notices
