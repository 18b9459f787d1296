"""The queue as a person sees it: every message of every state, read without locks and without changing anything."""

from collections.abc import Iterator
from dataclasses import dataclass

from smartrelay.mail.envelope import Envelope
from smartrelay.spool import names
from smartrelay.spool.glance import Place, walk
from smartrelay.spool.history import History
from smartrelay.spool.journal import Journal
from smartrelay.spool.message import peek
from smartrelay.spool.trouble import CorruptMessage, NoSuchMessage


@dataclass(slots=True)
class Entry:
    """One message of the queue. state: "new", "waiting", "held". due: its next attempt in Unix seconds, 0 for at once."""

    queue_id: str
    state: str
    due: int
    path: str
    envelope: Envelope
    history: History


_STATES = {names.NEW: "new", names.CUR: "waiting", names.HOLD: "held"}


def entries(spool: str) -> Iterator[Entry]:
    """All readable messages, oldest first; one that vanishes or is corrupt meanwhile is passed over."""
    for place in walk(spool):
        found = readable(spool, place)
        if found is not None:
            yield found


def readable(spool: str, place: Place) -> Entry | None:
    """The message that is there, None when it has gone meanwhile or cannot be read."""
    try:
        return _entry(spool, place)
    except (NoSuchMessage, CorruptMessage):
        return None


def entry(spool: str, one: str) -> Entry:
    """One message by its id. Raises NoSuchMessage, CorruptMessage."""
    directory, name = names.find(spool, one).split("/")[-2:]
    parts = names.split(name) or (one, 0)
    return _entry(spool, Place(one, directory, name, parts[1], True))


def _entry(spool: str, place: Place) -> Entry:
    one, directory, name, due, journal = place
    path = f"{spool}/{directory}/{name}"
    envelope = peek(path)
    history = History(len(envelope.recipients))
    if journal:
        try:
            history.replay(Journal(spool, one).events)
        except OSError:
            pass  # a journal that cannot be read stops a pass at this message; whoever looks is shown the rest
    return Entry(one, _STATES[directory], due, path, envelope, history)
