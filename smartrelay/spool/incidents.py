"""What an operator must know of and put right, kept from pass to pass in `var/incidents.json`.

ASCII: `{"v": 1, "incidents": [{"kind": ..., "name": ..., ...}]}` with the members of `Incident`. Where there is no incident
there is no file, and looking for one is all that it costs.
"""

import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from smartrelay.mail.status import visible
from smartrelay.spool import note_rows, notes
from smartrelay.spool.glance import walk

ACCOUNT, CONFIGURATION, DOUBT = "account", "configuration", "doubt"
"""ACCOUNT: a relay does not let us in, so its mail waits. CONFIGURATION: no pass can be made. DOUBT: the session of a message
was lost behind the final dot for the third time or more, so somebody may get it again and again (law 10)."""

KEPT = 1000
"""Incidents that are kept; those that were noted longest ago go."""

_LONGEST_SENTENCE = 1000
_LONGEST = 8 << 20
_NEVER = 1e11


class Incident(NamedTuple):
    """name: of the relay, the queue id, or "". since, last: Unix seconds, when it was noted first and last. passes: in how
    many of them. sentence: what is wrong, as the log has it."""

    kind: str
    name: str
    since: float
    last: float
    passes: int
    sentence: str


class Incidents:
    """The incidents of one spool, for any number of threads. Only the pass that holds the spool's lock may `save` them.

    relays: the names of those that there are, where the configuration can be read: it is over with all others, and with what
    was wrong with the configuration. None: nothing is known of that. clock: Unix seconds. warn: told in a sentence of a file
    that cannot be read or written; that is no reason to stop the mail.
    """

    def __init__(
        self,
        spool: str,
        *,
        relays: Collection[str] | None = None,
        clock: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._path = f"{spool}/var/incidents.json"
        self._clock = clock
        self._warn = warn
        self._lock = threading.Lock()
        self._noted: set[tuple[str, str]] = set()
        self._ended: dict[tuple[str, str], Incident] = {}
        self._changed = self._warned = False
        self._found = self._read()
        if self._found:
            self._end_what_is_over(spool, relays)

    def _read(self) -> dict[tuple[str, str], Incident]:
        try:
            return {(found.kind, found.name): found for found in _parsed(note_rows.read(self._path, _LONGEST, "incidents"))}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            why = notes.reason(error)
            self._warn(f"cannot read the incidents in {self._path}: {why}; what was known of them is forgotten")
            self._changed = True
            return {}

    def _end_what_is_over(self, spool: str, relays: Collection[str] | None) -> None:
        """An operator's commands end messages and change relays, and do not write here."""
        there = {place.queue_id for place in walk(spool)} if any(kind == DOUBT for kind, _ in self._found) else set()
        for kind, name in list(self._found):
            known = kind == ACCOUNT and (relays is None or name in relays)
            if not (known or (kind == CONFIGURATION and relays is None) or (kind == DOUBT and name in there)):
                self.end(kind, name)

    def note(self, kind: str, name: str, sentence: str) -> None:
        """It is so now."""
        key, now = (kind, name), self._clock()
        with self._lock:
            # one that seemed to be over in this very pass is not: some of a relay's mail goes and some does not
            before = self._found.pop(key, None) or self._ended.pop(key, None)
            since, passes = (before.since, before.passes) if before is not None else (now, 0)
            passes += before is None or key not in self._noted
            self._found[key] = Incident(kind, name, since, now, passes, visible(sentence)[:_LONGEST_SENTENCE])
            self._noted.add(key)
            if len(self._found) > KEPT:
                del self._found[next(iter(self._found))]
            self._changed = True

    def end(self, kind: str, name: str) -> None:
        """It is so no longer; harmless where it was not."""
        if not self._found:
            return  # nearly always
        with self._lock:
            ended = self._found.pop((kind, name), None)
            if ended is not None:
                self._ended[kind, name] = ended
                self._changed = True

    def get(self, kind: str, name: str) -> Incident | None:
        """The incident, None where there is none."""
        return self._found.get((kind, name))

    def entries(self) -> list[Incident]:
        """All of them, those that were noted longest ago first."""
        with self._lock:
            return list(self._found.values())

    def save(self) -> None:
        """Writes them down, where there is any news."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            try:
                note_rows.write(self._path, "incidents", self._found.values())
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    self._warn(f"cannot write the incidents to {self._path}: {error.strerror}; they are known to the log alone")


def _parsed(rows: list[object]) -> list[Incident]:
    """Raises ValueError for what is not ours."""
    if len(rows) > KEPT:
        raise ValueError("more than are kept")
    return [_incident(row) for row in rows]


def _incident(row: object) -> Incident:
    match row:
        case {
            "kind": str(kind),
            "name": str(name),
            "since": int() | float() as since,
            "last": int() | float() as last,
            "passes": int(passes),
            "sentence": str(sentence),
        } if 0 <= since < _NEVER and 0 <= last < _NEVER and passes > 0:
            return Incident(kind, visible(name), float(since), float(last), passes, visible(sentence)[:_LONGEST_SENTENCE])
    raise ValueError("no incident")
