"""What truly happened in a simulated month, and the laws that it is held to.

Ordinary recipients have addresses that nobody else has, so that an address says which message it belongs to.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from typing import NamedTuple

from smartrelay.mail.notice import Action, wants
from smartrelay.mail.stored import read
from smartrelay.spool.history import History
from smartrelay.spool.journal import Journal
from tests.simulation.server import Letter

IN_DOUBT = "it may be delivered twice"
POSTMASTER = "admin@a.example"
ACCOUNT_FAULT = "530 5.7.0 authentication required"
HOUR, DAY = 3600.0, 86400.0
LIFETIME, WARN_AFTER, MOST_GAP = 5 * DAY, (4 * HOUR, DAY), 6 * HOUR


@dataclass
class Mail:
    """One message that was accepted for good. born: true time; notice_of: for one of ours, what it tells of. ends: how each
    recipient's way ended, by address."""

    queue_id: str
    key: str
    sender: str
    notify: dict[str, str]
    born: float
    notice_of: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    gone: bool = False


@dataclass
class Taking:
    """That a server took a message for one recipient. sure: its yes was heard by a process that lived on; dsn: whether it
    reports success itself, lmtp: whether it is the mailbox's own."""

    when: float
    number: int
    sure: bool
    report: str


class Rest(NamedTuple):
    """A time in which mail could not go. whose: all of it (""), that with this queue id, or that of this domain."""

    begin: float
    end: float
    whose: str = ""


class Truth:
    """The record of one run. spool: where it lies. Each method that finds a law broken raises AssertionError.

    holes: when time was not what a journal shows of it (it begins or ends to rest, the clock is moved). asked: when a server
    last had its say about mail, by domain; a fault of our account is none. holds: how often each message was held.
    """

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.mail: dict[str, Mail] = {}
        self.holes: list[float] = []
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.rests: list[Rest] = []
        self.crashes: list[float] = []
        self.holds: Counter[str] = Counter()
        self.told: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.log: list[str] = []
        self._doubts: dict[str, dict[int, float]] = defaultdict(dict)
        self._tries: Counter[tuple[str, str]] = Counter()
        self._takings: dict[tuple[str, str], list[Taking]] = defaultdict(list)
        self._refused: set[str] = set()
        self._pass = 0
        self._crashed: set[int] = set()

    # what happens

    def accepted(self, mail: Mail) -> None:
        """A message was handed in."""
        assert mail.queue_id not in self.mail, f"{mail.queue_id} was published twice"
        self.mail[mail.queue_id] = mail

    def begun(self) -> None:
        """A pass begins."""
        self._pass += 1
        self.log = []

    def crashed(self, now: float) -> None:
        """The pass has died."""
        self.crashes.append(now)
        self._crashed.add(self._pass)

    def took(self, now: float, letter: Letter, recipients: list[str], *, said: bool, report: str) -> None:
        """A server has a message."""
        for address in recipients:
            takings = self._takings[letter.key, address]
            # law 10: nobody is sent it again who was known to have it
            assert not any(each.sure and each.number not in self._crashed for each in takings), f"{address} has {letter.key}"
            # nor sent it twice in one pass, in doubt or not
            assert not any(each.number == self._pass for each in takings), f"{address} has {letter.key} twice from one pass"
            takings.append(Taking(now, self._pass, said, report))

    def refused(self, address: str) -> None:
        """A server said no for good to this recipient."""
        self._refused.add(address)

    def published(self, path: str, now: float) -> None:
        """A notice has come to stand in the queue."""
        with open(path, encoding="latin-1") as file:
            line, _, text = file.read().partition("\n")
        envelope = read(line.encode("latin-1"))
        origin, _ = envelope.notice_of
        if not origin:
            return
        one = path.rpartition("/")[2]
        notify = {each.address: each.notify for each in envelope.recipients}
        self.accepted(Mail(one, envelope.message_id, envelope.reverse_path, notify, now, origin))
        expected = self.mail[origin].sender or POSTMASTER
        assert list(notify) == [expected], "a notice to somebody else"
        for address, action in _told(message_from_string(text)):
            self.told[origin, address][action] += 1

    def logged(self, now: float, lines: tuple[str, ...]) -> None:
        """The pass has said something. What it gives up must be due to be given up."""
        self.log += lines
        for line in lines:
            one, address = line[:17], line.partition("to=<")[2].partition(">")[0]
            ours = ACCOUNT_FAULT in line
            self._tries[one, address] += not ours
            if address:
                self._must_be_slow(one, now)
            if IN_DOUBT in line:
                self._doubts[one][self._pass] = now
            if address and "status=expired" in line:
                assert not ours, f"expired by a fault of our account: {line}"
                self._must_be_due(self.mail[one], address, now)

    def leaves(self, path: str) -> None:
        """A name is about to go from the spool: of a message every recipient must have come to an end (law 2)."""
        folder, _, name = path.rpartition("/")
        mail = self.mail.get(name[:17])
        if not folder.endswith("/cur") or mail is None:
            return
        history = History(len(mail.notify)).replay(Journal(self.spool, mail.queue_id).events)
        assert not history.owed, f"{mail.queue_id} leaves and owes a notice"
        for index, address in enumerate(mail.notify):
            status = history.last[index]
            end = status.action if status is not None and status.final else self._logged(mail, address)
            mail.ends[address] = end
            self._must_be_true(mail, address, end)
        mail.gone = True

    def _logged(self, mail: Mail, address: str) -> str:
        """How a recipient ended of whom only the log of this pass knows: the unlink is the verdict."""
        lines = [line for line in self.log if line.startswith(f"{mail.queue_id}: to=<{address}>")]
        word = lines[-1].partition("status=")[2].partition(" ")[0] if lines else "nothing"
        return {"sent": "delivered", "bounced": "failed", "expired": "expired"}.get(word, word)

    # the laws

    def _must_be_true(self, mail: Mail, address: str, end: str) -> None:
        what = f"{mail.queue_id} for {address} ended as {end}"
        if end == "delivered":
            assert self._takings[mail.key, address], f"{what}, and no server has it: lost"
        elif end == "failed":
            assert address in self._refused, f"{what}, and no server refused it"
        else:
            assert end == "expired", what

    def _must_be_due(self, mail: Mail, address: str, now: float) -> None:
        """Law 11: each hole in the time may have added one capped gap, no more, and so may each attempt."""
        one, domain = mail.queue_id, address.rpartition("@")[2]
        what = f"{one} for {address} expired"
        rested = _length(
            [(max(begin, mail.born), min(end, now)) for begin, end, whose in self.rests if whose in ("", one, domain)]
        )
        holes = sum(mail.born <= when <= now for when in self.holes)
        awake = now - mail.born - rested
        assert awake + holes * MOST_GAP >= LIFETIME - 60, f"{what} after {awake / DAY:.2f} days awake and {holes} holes"
        # the last words of a process that died are not known
        marks = self._tries[one, address] + self.holds[one] + sum(mail.born <= when <= now for when in self.crashes)
        assert marks * MOST_GAP >= LIFETIME - 60, f"{what} after {marks} attempts and holds"
        last = max(self.asked[domain], default=0.0)
        assert now - last <= HOUR + 60, f"{what}, {now - last:.0f} s after anybody was asked"

    def _must_be_slow(self, one: str, now: float) -> None:
        """Law 10: behind the third doubt a message waits for hours, if no operator, clock or crash comes between."""
        doubts = self._doubts[one]
        if len(doubts) >= 3 and self._pass not in doubts and not self.holds[one]:
            last = max(doubts.values())
            if not any(when >= last for when in (*self.holes, *self.crashes)):
                assert now - last >= 4 * HOUR - 60, f"{one} was tried {now - last:.0f} s after its third doubt"

    def is_over(self, now: float) -> None:
        """Behind the last pass: all mail has ended, and of each end was told what NOTIFY asks for, once."""
        for mail in self.mail.values():
            assert mail.gone, f"{mail.queue_id} is neither in the spool nor has it ended: lost"
            for address in mail.notify:
                self._must_be_told(mail, address)
        self._must_be_few_duplicates()

    def _must_be_told(self, mail: Mail, address: str) -> None:
        expected: Counter[str] = Counter()
        end, notify = mail.ends[address], mail.notify[address]
        told = self.told[mail.queue_id, address]
        if end in ("failed", "expired"):
            to_postmaster = not mail.sender and POSTMASTER not in mail.notify
            expected["failed"] = int(to_postmaster or (bool(mail.sender) and wants(notify, Action.FAILED)))
        report = self._takings[mail.key, address][-1].report if end == "delivered" else ""
        if report:
            expected[report] = int(bool(mail.sender) and wants(notify, Action.RELAYED))
        most = len(WARN_AFTER) if mail.sender and wants(notify, Action.DELAYED) else 0
        assert told["delayed"] <= most, (mail, address, told)
        expected["delayed"] = told["delayed"]
        assert +told == +expected, (mail, address, told, expected)

    def _must_be_few_duplicates(self) -> None:
        """Law 10, law 3: a crash doubles at most the one message that was in doubt."""
        doubled: dict[int, set[str]] = defaultdict(set)
        for (key, _), takings in self._takings.items():
            for each in takings[:-1]:
                if each.sure:
                    doubled[each.number].add(key)
        for number, keys in doubled.items():
            assert number in self._crashed and len(keys) == 1, (number, keys)

    @property
    def duplicates(self) -> int:
        """How often a recipient was sent what was there already."""
        return sum(len(takings) - 1 for takings in self._takings.values() if takings)


def _length(spans: list[tuple[float, float]]) -> float:
    """Of all that these spans cover."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def _told(notice: Message) -> list[tuple[str, str]]:
    """Of whom a notice says what."""
    parts = notice.get_payload()
    assert isinstance(parts, list) and isinstance(parts[1], Message)
    groups = parts[1].get_payload()
    assert isinstance(groups, list)
    fields = [group for group in groups if isinstance(group, Message) and group["Final-Recipient"]]
    return [(str(each["Final-Recipient"]).partition("; ")[2], str(each["Action"])) for each in fields]
