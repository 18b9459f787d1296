"""A queue and its ledger, without any server: tests give the verdicts."""

from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from typing import Any, NamedTuple

from smartrelay.mail.envelope import Envelope
from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, OURS, REMEMBERED, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.report import Report
from smartrelay.spool.message import peek
from smartrelay.spool.queue import Queue
from tests.support.clock import FakeClock
from tests.support.configuration import configuration
from tests.support.queues import new_spool, put

HOST = "h.example[192.0.2.1]:25"
YES = Status(DELIVERED, "2.0.0", "250 ok", 250, HOST, "end")
RELAYED, TO_MAILBOX = YES._replace(report="relayed"), YES._replace(report="delivered")
NO = Status(FAILED, "5.1.1", "550 5.1.1 no", 550, HOST, "rcpt")
LATER = Status(DEFERRED, "4.2.0", "450 4.2.0 later", 450, HOST, "rcpt")
LOST = Status(DEFERRED, "4.4.2", "connection lost", 0, HOST, "end", doubt=True)
DOWN = Status(DEFERRED, "4.4.1", "down (not tried again yet)", 0, HOST, basis=REMEMBERED)
ACCOUNT = Status(DEFERRED, "4.7.8", "535 5.7.8 wrong", 535, HOST, "auth", basis=OURS)


class Told(NamedTuple):
    """A notice in the queue. groups: the fields about each recipient, by address; words: what a person reads."""

    queue_id: str
    envelope: Envelope
    parsed: Message
    groups: dict[str, Message]
    words: str

    @property
    def actions(self) -> dict[str, str]:
        """What it says of each recipient."""
        return {address: str(fields["Action"]) for address, fields in self.groups.items()}


class Desk:
    """A queue and its ledger; `lines` is the log."""

    def __init__(self, folder: str, clock: FakeClock, **settings: Any) -> None:
        self.clock = clock
        self.spool = new_spool(folder)
        self.lines: list[str] = []
        self.begin(**settings)

    def begin(self, **settings: Any) -> None:
        """Another pass, with these settings: a new queue and ledger on the files that are there."""
        self.queue = Queue(self.spool, clock=self.clock)
        self.report = Report()
        log = MailLog(lambda priority, *lines: self.lines.extend(lines))
        self.ledger = Ledger(self.queue, log, self.report, configuration(self.spool, **settings), self.clock, lambda: 0.5)
        self.queue.take_in()
        self.queue.read_directory(everything=True)

    def planned(self, *recipients: str, shares: int = 1, **envelope: Any) -> str:
        """A message that has just come in, in this pass's plan; its id."""
        one = put(self.queue, recipients, arrived=self.clock(), **envelope)
        self.queue.take_in()
        self.ledger.plan(one, shares)
        return one

    def consign(self, one: str, *recipients: int) -> Consignment:
        """Takes it in hand for these recipients."""
        consignment = Consignment(self.ledger.take(one), "work", list(recipients), self.clock())
        self.ledger.prepare(consignment)
        return consignment

    def attempt(self, one: str, statuses: dict[int, Status]) -> None:
        """A pass of which this comes for the message."""
        self.queue.read_directory(everything=True)
        if not self.ledger.is_planned(one):
            self.ledger.plan(one, 1)
        consignment = self.consign(one, *statuses)
        if statuses:
            self.ledger.write(consignment, statuses)
        self.ledger.give_back(one, finished=True)
        self.ledger.settle()

    def told(self) -> list[Told]:
        """The notices that are in the queue, in the order in which they were called for."""
        self.queue.read_directory(everything=True)
        found = [self._told(one) for one in self.queue.get_waiting() if peek(self.queue.get_path(one)).notice_of[0]]
        return sorted(found, key=lambda told: told.envelope.notice_of)

    def _told(self, one: str) -> Told:
        path = self.queue.get_path(one)
        with open(path, "rb") as file:
            parsed = message_from_bytes(file.read().partition(b"\n")[2])
        parts = parsed.get_payload()
        assert isinstance(parts, list)
        words, report = parts[:2]
        assert isinstance(words, Message) and isinstance(report, Message)
        blocks = report.get_payload()
        assert isinstance(blocks, list)
        groups = [block for block in blocks if isinstance(block, Message) and block["Final-Recipient"]]
        by_address = {str(group["Final-Recipient"]).partition(";")[2].strip(): group for group in groups}
        return Told(one, peek(path), parsed, by_address, " ".join(str(words.get_payload()).split()))

    def forget(self, notices: Sequence[Told]) -> None:
        """Takes notices off the queue, as if they had been sent."""
        for told in notices:
            self.attempt(told.queue_id, {0: YES})
