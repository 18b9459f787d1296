"""What a message's journal adds up to: each recipient's standing, what is owed, how often it was tried."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from smartrelay.mail.status import DEFERRED, OURS, Status, printable
from smartrelay.spool.journal import Event

_NEVER = 1e11
"""No clock is so wrong (the year 5138): such a time comes from no journal of ours."""


_KINDS = ("recipients", "delayed", "relayed", "delivered")
"""The lists of recipients in a call for a notice: those that failed or expired, then the others by what is told of them."""


class Mark(NamedTuple):
    """That something happened for a recipient at `time` (Unix seconds), and whether the time before it counts as age."""

    time: float
    counts: bool


@dataclass(slots=True)
class Notice:
    """A notice that the journal called for. called: Unix seconds of that line; published: whether "bounced" is durable.

    recipients: of whom it says that they failed or expired; delayed, relayed, delivered: of whom it says that. level: how many
    of the times of `warn_after` had passed. until: Unix seconds of the expiry of those that are delayed, 0 for unknown.
    """

    number: int
    called: float
    recipients: list[int]
    delayed: list[int] = field(default_factory=list)
    relayed: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    level: int = 0
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
        return found | ({"level": self.level, "until": round(self.until)} if self.delayed else {})


@dataclass(slots=True)
class History:
    """The standing of a message with `count` recipients, by their index in the envelope.

    last: each one's latest status. tries: how often each was deferred. warned: of how many delays the sender of each was told.
    doubts: sessions lost after the final dot. relay: the rule of the latest attempt. events: all that was replayed.
    """

    count: int
    last: list[Status | None] = field(init=False)
    tries: list[int] = field(init=False)
    warned: list[int] = field(init=False)
    notices: dict[int, Notice] = field(default_factory=dict)
    doubts: int = 0
    relay: str = ""
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = [None] * self.count
        self.tries = [0] * self.count
        self.warned = [0] * self.count

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

    def marks(self, index: int) -> Iterator[Mark]:
        """What happened for one recipient, in order, as far as it bears on its age (law 11)."""
        for event in self.events:
            try:
                kind, time = event["event"], float(event["time"])
                if not 0 <= time < _NEVER:
                    continue
                if kind == "attempt":
                    if any(row[0] == index for row in event["results"]):
                        yield Mark(time, index not in event.get("ours", ()))
                elif kind in ("hold", "retry"):
                    yield Mark(time, True)
                elif kind in ("release", "postponed"):
                    yield Mark(time, False)
            except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
                continue

    def replay(self, events: Iterable[Event]) -> "History":
        """Adds events in their order. Whatever an event says that cannot be, it does not count."""
        for event in events:
            self.events.append(event)
            try:
                self._apply(event)
            except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
                continue
        return self

    def _apply(self, event: Event) -> None:
        kind = event["event"]
        if kind == "attempt":
            # all of it is looked at before any of it counts
            relay, found = str(event["relay"]), results(event)
            notice = self._notice(event["notice"]) if "notice" in event else None
            for index, _ in found:
                self._must_exist(index)
            for index, status in found:
                self.record(index, status)
            self.relay = relay
            if notice is not None:
                self.notices[notice.number] = notice
                for index in notice.delayed:
                    self.warned[index] = max(self.warned[index], notice.level)
        elif kind == "bounced":
            self.notices[int(event["number"])].published = True

    def _notice(self, called: dict[str, Any]) -> Notice:
        called = {**dict.fromkeys(_KINDS[1:], ()), **called}
        lost, delayed, relayed, delivered = ([int(index) for index in called[kind]] for kind in _KINDS)
        level, until = int(called.get("level", 0)), float(called.get("until", 0))
        notice = Notice(int(called["number"]), float(called["time"]), lost, delayed, relayed, delivered, level, until)
        for index in notice.everybody:
            self._must_exist(index)
        if not 0 <= notice.called < _NEVER:
            raise ValueError(notice.called)
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
        self.doubts += status.doubt


def attempt(now: float, relay: str, statuses: dict[int, Status], notice: Notice | None = None) -> Event:
    """The event of one attempt through `relay`; it calls for `notice`, if there is one.

    Both in one line: a write that is cut short must not leave a recipient failed of whom nobody is told.
    """
    rows = [[i, s.action, s.dsn, s.text, s.code, s.host, s.phase, s.doubt] for i, s in sorted(statuses.items())]
    event: Event = {"event": "attempt", "time": round(now, 3), "relay": relay, "results": rows}
    ours = [index for index, status in sorted(statuses.items()) if status.basis == OURS]
    if ours:
        event["ours"] = ours
    if notice is not None:
        event["notice"] = notice.call()
    return event


def results(event: Event) -> list[tuple[int, Status]]:
    """The statuses in an attempt's event. Raises what a hand-made event makes it raise."""
    return [
        (int(i), Status(str(action), str(dsn), printable(str(text)), int(code), str(host), str(phase), bool(doubt)))
        for i, action, dsn, text, code, host, phase, doubt in event["results"]
    ]


def bounced(now: float, number: int) -> Event:
    """The event that says that notice `number` is published."""
    return {"event": "bounced", "time": round(now, 3), "number": number}


def postponed(now: float, relay: str, until: float) -> Event:
    """The event that says that the budget of `relay` was used up."""
    return {"event": "postponed", "time": round(now, 3), "relay": relay, "until": round(until)}
