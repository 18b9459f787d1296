"""What the passes over a spool have done so far, in numbers, kept in `var/totals`.

Two lines of ASCII, each a word and then `name=value` for each member of `Totals` and `Work`. Not JSON: an idle pass reads it,
and to load what takes that apart is a twentieth of such a pass.
"""

from typing import Any, NamedTuple, TypeVar

from smartrelay.spool import notes

DONE, RUNNING, IDLE, OFFLINE, STOPPED = "done", "running", "idle", "offline", "stopped"
MISCONFIGURED, FAILED = "misconfigured", "failed"
"""How a pass ended. RUNNING: it has not. IDLE: there was nothing to do. OFFLINE: this machine had no way to some host. STOPPED:
by a signal. MISCONFIGURED: the configuration, or a file that it names, cannot be used. FAILED: the spool cannot be written."""

RESULTS = frozenset((DONE, RUNNING, IDLE, OFFLINE, STOPPED, MISCONFIGURED, FAILED))

_LONGEST = 4096
_LARGEST = 10**15
_Row = TypeVar("_Row", "Work", "Totals")


class Work(NamedTuple):
    """The last pass that had anything to do, with the counts of its report (`relay.report`). start, end: Unix seconds. result:
    "" where there was none yet. bounced and expired are disjoint here."""

    start: float = 0.0
    end: float = 0.0
    result: str = ""
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    expired: int = 0
    doubtful: int = 0
    messages: int = 0
    notices: int = 0
    postponed: int = 0
    connections: int = 0


class Totals(NamedTuple):
    """Recipients whose mail was delivered, deferred (at each attempt), bounced and expired by all passes. success: when a pass
    delivered mail last, in Unix seconds, 0 for never. bad_hosts: how many there were after the last pass that had anything to
    do, and bad_until when the last of them ceases to be."""

    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    expired: int = 0
    success: float = 0.0
    bad_hosts: int = 0
    bad_until: float = 0.0
    work: Work = Work()

    def plus(self, work: Work) -> "Totals":
        """With what one more pass has done."""
        return self._replace(
            delivered=self.delivered + work.delivered,
            deferred=self.deferred + work.deferred,
            bounced=self.bounced + work.bounced,
            expired=self.expired + work.expired,
            success=work.end if work.delivered else self.success,
            work=work,
        )


def load(spool: str) -> Totals:
    """What is noted there; where that is nothing, or not what we write, it begins anew."""
    try:
        first, second = notes.read(path(spool), _LONGEST).decode("ascii").splitlines()
        return _parsed(Totals(), first, "totals")._replace(work=_parsed(Work(), second, "work"))
    except (OSError, ValueError):
        return Totals()


def save(spool: str, totals: Totals) -> None:
    """Raises OSError."""
    rows = (_row("totals", totals._asdict()), _row("work", totals.work._asdict()))
    notes.write(path(spool), "".join(rows).encode("ascii"))


def path(spool: str) -> str:
    """The file."""
    return f"{spool}/var/totals"


def _row(word: str, members: dict[str, Any]) -> str:
    return " ".join([word, *(f"{name}={value}" for name, value in members.items() if name != "work")]) + "\n"


def _parsed(begun: _Row, line: str, word: str) -> _Row:
    """Raises ValueError for what is not to the letter what `_row` makes."""
    first, *words = line.split(" ")
    members = dict(each.split("=", 1) for each in words)
    if first != word or members.keys() != set(begun._fields) - {"work"}:
        raise ValueError("not the members")
    return begun._replace(**{name: _value(getattr(begun, name), text) for name, text in members.items()})


def _value(like: object, text: str) -> Any:
    if isinstance(like, str):
        if text and text not in RESULTS:
            raise ValueError("no result")
        return text
    value = type(like)(text)  # type: ignore[call-arg]
    if not 0 <= value < _LARGEST:  # type: ignore[operator]
        raise ValueError("no such number")
    return value
