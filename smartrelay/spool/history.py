"""What a message's journal adds up to: each recipient's standing, what is owed, how often it was tried."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from smartrelay.mail.status import DEFERRED, OURS, Status, printable
from smartrelay.spool.journal import Event

_NEVER = 1e11
"""No clock is so wrong (the year 5138): such a time comes from no journal of ours."""

_IMPOSSIBLE = (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError)
"""What an event raises that is not as we write it: it does not count."""

_WRITTEN = Status._fields.index("basis")
"""So many of the fields of a status stand in the journal, from the first on."""

_KINDS = ("recipients", "delayed", "relayed", "delivered")
"""The lists of recipients in a call for a notice: those that failed or expired, then the others by what is told of them."""


class Mark(NamedTuple):
    """That something happened for a recipient at `time` (Unix seconds), and whether the time before it counts as age."""

    time: float
    counts: bool


class Notice(NamedTuple):
    """A notice that the journal called for. called: Unix seconds of that line; published: whether "bounced" is durable.

    recipients: of whom it says that they failed or expired; delayed, relayed, delivered: of whom it says that. levels: for each
    of those that are delayed, how many of the times of `warn_after` had passed. until: Unix seconds of their expiry, 0 for
    unknown.
    """

    number: int
    called: float
    recipients: Sequence[int]
    delayed: Sequence[int] = ()
    relayed: Sequence[int] = ()
    delivered: Sequence[int] = ()
    levels: Sequence[int] = ()
    until: float = 0.0
    published: bool = False

    @property
    def everybody(self) -> list[int]:
        """All that it tells of."""
        return [*self.recipients, *self.delayed, *self.relayed, *self.delivered]

    def call(self) -> dict[str, Any]:
        """What stands in the journal."""
        found: dict[str, Any] = {"time": round(self.called, 6), "number": self.number, "recipients": self.recipients}
        found |= {kind: indices for kind in _KINDS[1:] if (indices := getattr(self, kind))}
        return found | ({"levels": self.levels, "until": round(self.until)} if self.delayed else {})


class History:
    """The standing of a message with `count` recipients, by their index in the envelope.

    last: each one's latest status. tries: how often each was deferred. warned: of how many delays the sender of each was told.
    hosts: for whom none of several hosts could be used at his latest attempt, and which. doubts: sessions lost after the final
    dot. relay: the rule of the latest attempt. events: all that was replayed.
    """

    __slots__ = ("_marked", "_marks", "count", "doubts", "events", "hosts", "last", "notices", "relay", "tries", "warned")

    def __init__(self, count: int) -> None:
        self.count = count
        self.last: list[Status | None] = [None] * count
        self.tries = [0] * count
        self.warned = [0] * count
        self.hosts: dict[int, list[str]] = {}
        self.notices: dict[int, Notice] = {}
        self.doubts = 0
        self.relay = ""
        self.events: list[Event] = []
        self._marks: list[list[Mark]] = []
        self._marked = 0

    @property
    def waiting(self) -> list[int]:
        """The recipients whose way has not ended."""
        return [index for index, status in enumerate(self.last) if status is None or not status.final]

    @property
    def owed(self) -> list[Notice]:
        """Notices that were called for and are not known to be published."""
        return [notice for notice in self.notices.values() if not notice.published]

    @property
    def attempts(self) -> int:
        """How often the recipient that still waits was tried at most."""
        return max((self.tries[index] for index in self.waiting), default=0)

    def marks(self, index: int) -> list[Mark]:
        """What happened for one recipient, in order, as far as it bears on its age (law 11)."""
        if not self._marks:
            self._marks = [[] for _ in range(self.count)]
        # each event is looked at once, for all recipients: a long list of them has long events
        for event in self.events[self._marked :]:
            self._marked += 1
            try:
                time = _moment(event["time"])
                for each, counts in self._touched(event):
                    self._marks[each].append(Mark(time, counts))
            except _IMPOSSIBLE:
                continue
        return self._marks[index]

    def _touched(self, event: Event) -> list[tuple[int, bool]]:
        """Whom an event concerns, and for each whether the time before it counts as age."""
        kind = event["event"]
        if kind == "attempt":
            ours = set(event.get("ours", ()))
            found = [(int(row[0]), row[0] not in ours) for row in event["results"]]
        elif kind == "postponed":
            found = [(int(index), False) for index in event.get("recipients", range(self.count))]
        elif kind in ("hold", "retry", "release"):
            found = [(index, kind != "release") for index in range(self.count)]
        else:
            found = []
        for index, _ in found:
            self._must_exist(index)
        return found

    def replay(self, events: Iterable[Event]) -> "History":
        """Adds events in their order. Whatever an event says that cannot be, it does not count."""
        for event in events:
            self.events.append(event)
            try:
                self._apply(event)
            except _IMPOSSIBLE:
                continue
        return self

    def _apply(self, event: Event) -> None:
        kind = event["event"]
        if kind == "attempt":
            # all of it is looked at before any of it counts
            relay, found = _word(event["relay"]), results(event)
            notice = self._notice(event["notice"]) if "notice" in event else None
            hosts = [_word(host) for host in event.get("hosts", ())]
            for index, _ in found:
                self._must_exist(index)
            doubt = False
            for index, status in found:
                self.record(index, status)
                self.hosts[index] = hosts
                doubt = doubt or status.doubt
            self.doubts += doubt
            self.relay = relay
            if notice is not None:
                self.notices[notice.number] = notice
                for index, level in zip(notice.delayed, notice.levels, strict=True):
                    self.warned[index] = max(self.warned[index], level)
        elif kind == "bounced":
            number = int(event["number"])
            self.notices[number] = self.notices[number]._replace(published=True)

    def _notice(self, called: dict[str, Any]) -> Notice:
        called = {**dict.fromkeys(_KINDS[1:], ()), **called}
        lost, delayed, relayed, delivered = ([int(index) for index in called[kind]] for kind in _KINDS)
        levels, until = [int(level) for level in called.get("levels", ())], _moment(called.get("until", 0))
        notice = Notice(int(called["number"]), _moment(called["time"]), lost, delayed, relayed, delivered, levels, until)
        for index in notice.everybody:
            self._must_exist(index)
        if len(levels) != len(delayed):
            raise ValueError(levels)
        return notice

    def _must_exist(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(index)

    def record(self, index: int, status: Status) -> None:
        """One recipient's newest status; a final one stands for ever."""
        before = self.last[index]
        if before is not None and before.final:
            return
        self.last[index] = status
        self.tries[index] += status.action == DEFERRED


def _moment(value: Any) -> float:
    """A time in a journal. Raises ValueError for one that no clock of ours has told."""
    moment = float(value)
    if not 0 <= moment < _NEVER:
        raise ValueError(value)
    return moment


def attempt(
    now: float, relay: str, statuses: dict[int, Status], notice: Notice | None = None, hosts: Sequence[str] = ()
) -> Event:
    """The event of one attempt through `relay`; it calls for `notice`, if there is one. hosts: the keys of those of which none
    could be used, where a status does not say it all.

    Both in one line: a write that is cut short must not leave a recipient failed of whom nobody is told.
    """
    ordered = sorted(statuses.items())
    rows = [[index, *status[:_WRITTEN]] for index, status in ordered]
    event: Event = {"event": "attempt", "time": round(now, 3), "relay": relay, "results": rows}
    ours = [index for index, status in ordered if status.basis == OURS]
    if ours:
        event["ours"] = ours
    if hosts:
        event["hosts"] = list(hosts)
    if notice is not None:
        event["notice"] = notice.call()
    return event


def results(event: Event) -> list[tuple[int, Status]]:
    """The statuses in an attempt's event. Raises what a hand-made event makes it raise."""
    return [(int(index), _status(*written)) for index, *written in event["results"]]


@lru_cache(maxsize=64)
def _status(action: object, dsn: object, text: object, code: Any, host: object, phase: object, doubt: object) -> Status:
    """The status of a row; one reason stands in the journals of many messages."""
    return Status(_word(action), _word(dsn), _word(text), int(code), _word(host), _word(phase), bool(doubt))


def _word(value: object) -> str:
    """What a journal says, fit for a terminal whoever wrote it."""
    return printable(str(value))


def bounced(now: float, number: int) -> Event:
    """The event that says that notice `number` is published."""
    return {"event": "bounced", "time": round(now, 3), "number": number}


def postponed(now: float, relay: str, until: float, recipients: list[int]) -> Event:
    """The event that says that the budget of `relay` was used up when it was the turn of these recipients."""
    return {"event": "postponed", "time": round(now, 3), "relay": relay, "until": round(until), "recipients": recipients}
