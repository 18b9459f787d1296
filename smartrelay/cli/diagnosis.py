"""What the status file says about the health of this machine's outgoing mail, in the four states of the monitoring world."""

from typing import NamedTuple

from smartrelay import duration
from smartrelay.spool.status_file import Noted, Status
from smartrelay.spool.totals import FAILED, IDLE, MISCONFIGURED

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
"""Exit codes of a monitoring plugin."""

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

_AHEAD = 300.0
"""Seconds by which a status file may be ahead of our clock."""


class Thresholds(NamedTuple):
    """From how many messages that wait, and from how many seconds for which the oldest does, it is a matter. max_age: of the
    status file, in seconds."""

    warn_queue: int = 100
    crit_queue: int = 1000
    warn_age: float = 4 * 3600.0
    crit_age: float = 86400.0
    max_age: float = 600.0


class Diagnosis(NamedTuple):
    """state: the worst of what was found. problems: a sentence for each, the worst first. status: what it rests on, None where
    there is none; now: the time of the diagnosis, in Unix seconds."""

    state: int
    problems: tuple[str, ...]
    status: Status | None
    now: float

    @property
    def oldest_age(self) -> float:
        """For how many seconds the oldest message waits, 0 where none does."""
        return age(self.status.messages.waiting.oldest, self.now) if self.status else 0.0


def age(then: float | None, now: float) -> float:
    """Seconds since then, 0 for None."""
    return 0.0 if then is None else max(0.0, now - then)


def unknown(why: str, now: float) -> Diagnosis:
    """Nothing is known, for this reason."""
    return Diagnosis(UNKNOWN, (why,), None, now)


def diagnose(status: Status, limits: Thresholds, now: float) -> Diagnosis:
    """Judges what a pass has told."""
    old = now - status.time
    if old > limits.max_age:
        why = f"the last pass was {duration.short(old)} ago; is the timer on? (--max-age is {duration.short(limits.max_age)})"
        return Diagnosis(UNKNOWN, (why,), status, now)
    if old < -_AHEAD:
        return Diagnosis(UNKNOWN, (f"the status file is from a time to come, in {duration.short(-old)}",), status, now)
    found = [*_queue(status, limits, now), *_configuration(status), *_incidents(status), *_spool(status)]
    found.sort(key=lambda each: -each[0])
    return Diagnosis(max((state for state, _ in found), default=OK), tuple(text for _, text in found), status, now)


_Found = list[tuple[int, str]]


def _queue(status: Status, limits: Thresholds, now: float) -> _Found:
    waiting, found = status.messages.waiting, []
    state = _state(waiting.number, limits.warn_queue, limits.crit_queue)
    if state:
        found.append((state, f"{messages(waiting.number)} wait"))
    oldest = age(waiting.oldest, now)
    state = _state(oldest, limits.warn_age, limits.crit_age) if waiting.number else OK
    if state:
        found.append((state, f"the oldest message waits for {duration.short(oldest)}"))
    return found


def _state(value: float, warn: float, crit: float) -> int:
    return CRITICAL if value >= crit else WARNING if value >= warn else OK


def _configuration(status: Status) -> _Found:
    """What keeps passes from working at all."""
    if status.relays == 0:
        return [(CRITICAL, "no relay is configured, so all mail is kept")]
    result = status.result if status.result != IDLE else status.totals.work.result
    if result == MISCONFIGURED or status.incidents.configuration.number:
        return [(CRITICAL, "the configuration cannot be used as it is; `smartrelay flush` says why")]
    return []


def _incidents(status: Status) -> _Found:
    found = []
    account, doubt = status.incidents.account, status.incidents.doubt
    if account.number:
        found.append((CRITICAL, f"{_relays(account)} not let us in, so mail waits"))
    if doubt.number:
        again = "its recipients may get it" if doubt.number == 1 else "their recipients may get them"
        found.append((WARNING, f"{messages(doubt.number)} in doubt for the third time or more: {again} again and again"))
    return found


def _relays(account: Noted) -> str:
    names = ", ".join(account.relays) or str(account.number)
    more = account.number - len(account.relays)
    if account.relays and more > 0:
        names += f" and {more} more"
    return f"relay {names} does" if account.number == 1 else f"relays {names} do"


def _spool(status: Status) -> _Found:
    found = []
    result = status.result if status.result != IDLE else status.totals.work.result
    if result == FAILED:
        found.append((CRITICAL, "the spool cannot be written as it must be"))
    if status.free is not None and status.free < status.needed:
        room = f"{octets(status.free)} are free, and min_free_space is {octets(status.needed)}"
        found.append((CRITICAL, f"the spool is full, no mail is accepted: {room}"))
    if status.messages.corrupt.number:
        found.append((WARNING, f"{messages(status.messages.corrupt.number)} could not be read and lie in corrupt/"))
    return found


def messages(number: int) -> str:
    """A number of messages, in words."""
    return f"{number} message{'' if number == 1 else 's'}"


def octets(number: int) -> str:
    """A size in its largest unit, as the configuration has it."""
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)
