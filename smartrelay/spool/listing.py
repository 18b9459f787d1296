"""The queue as a person sees it: every message of every state, read without locks and without changing anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from smartrelay.mail.envelope import Envelope
from smartrelay.spool import names
from smartrelay.spool.glance import Glance, glance
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
    for each in _walk(spool, quickly=False):
        if isinstance(each, Entry):
            yield each


def glances(spool: str) -> Iterator[Entry | Glance]:
    """The same messages, but a glance is enough for those that are like most."""
    return _walk(spool, quickly=True)


def _walk(spool: str, *, quickly: bool) -> Iterator[Entry | Glance]:
    found = []
    for directory in _STATES:
        for name in os.listdir(f"{spool}/{directory}"):
            parts = names.split(name)
            if parts:
                found.append((parts[0], directory, name, parts[1]))
    found.sort()
    journals = set(os.listdir(f"{spool}/state"))
    seen = ""
    for one, directory, name, due in found:
        if one == seen:
            continue  # it moved while we listed
        known = one in journals
        try:
            quick = (
                glance(f"{spool}/{directory}/{name}", f"{spool}/state/{one}", one, due) if quickly and due and known else None
            )
            yield quick or _entry(spool, one, directory, name, due, known)
        except (NoSuchMessage, CorruptMessage):
            continue
        seen = one


def entry(spool: str, one: str) -> Entry:
    """One message by its id. Raises NoSuchMessage, CorruptMessage."""
    directory, name = names.find(spool, one).split("/")[-2:]
    parts = names.split(name) or (one, 0)
    return _entry(spool, one, directory, name, parts[1], True)


def _entry(spool: str, one: str, directory: str, name: str, due: int, journal: bool) -> Entry:
    path = f"{spool}/{directory}/{name}"
    envelope = peek(path)
    history = History(len(envelope.recipients))
    if journal:
        try:
            history.replay(Journal(spool, one).events)
        except OSError:
            pass  # a journal that cannot be read stops a pass at this message; whoever looks is shown the rest
    return Entry(one, _STATES[directory], due, path, envelope, history)


def corrupt(spool: str) -> list[str]:
    """The names of what was set aside."""
    return sorted(os.listdir(f"{spool}/{names.CORRUPT}"))
