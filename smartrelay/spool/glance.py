"""The queue at a glance: where its messages are, and what a listing shows of those that are like most.

Most of a long queue is messages for one recipient that were put off and nothing else. What is shown of them is found by
pattern, in the files as we write them: to take their JSON apart and check it costs four times as much. Everything else, and
whatever is not to the letter what we write, is `listing`'s.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from smartrelay.spool import names

_TEXT = r'"([^"\\\x00-\x1f\x7f-\xff]*)"'
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9._-]+"
_ENVELOPE = re.compile(
    r'Smartrelay-Envelope: \{"v":1,"arrived":([0-9]{1,11}\.[0-9]{6}),"uid":[0-9]+,'
    rf'"sender":"((?:{_ADDRESS})?)","recipients":\["({_ADDRESS})"\],"message_id":{_TEXT},'
    r'"stored": *[0-9]+,"octets": *([0-9]+),"longest": *[0-9]+,"eight_bit":[01],"nul":[01],"bare_cr":[01]\}\n'
).match
_NAME = r'"[^"\\\x00-\x1f\x7f-\xff]*"'
_HOSTS = rf'(?:,"hosts":\[{_NAME}(?:,{_NAME})*\])?'
_TIME = r"[0-9]{1,11}\.[0-9]{1,6}"
_NOTICE = rf'\{{"time":{_TIME},"number":[0-9]+,"recipients":\[\],"delayed":\[0\],"levels":\[[0-9]+\],"until":[0-9]+\}}'
_DEFERRED = re.compile(
    rf'\{{"event":"attempt","time":({_TIME}),"relay":{_TEXT},"results":'
    rf'\[\[0,"deferred",{_TEXT},{_TEXT},([0-9]+),{_TEXT},{_TEXT},(?:true|false)\]\](,"ours":\[0\])?{_HOSTS}'
    rf'(?:,"notice":{_NOTICE})?\}}\n'
).fullmatch
_TOLD = re.compile(rf'\{{"event":"bounced","time":{_TIME},"number":[0-9]+\}}\n').fullmatch
"""What is in the journal of mail that is put off: attempts, some of which call for a notice of delay, and that it was sent."""

_LONGEST_ENVELOPE, _LONGEST_JOURNAL = 1 << 12, 1 << 14


class Place(NamedTuple):
    """Where a message is. due: its next attempt in Unix seconds, 0 for at once; journal: whether it has one."""

    queue_id: str
    directory: str
    name: str
    due: int
    journal: bool


def walk(spool: str) -> Iterator[Place]:
    """Each message of the queue once, oldest first, without locks."""
    found: dict[str, tuple[str, str, int]] = {}
    # one that moves meanwhile is where it was seen last; `new` twice, for one that goes back there from a directory to come
    for directory in (names.NEW, names.CUR, names.HOLD, names.NEW):
        for name in os.listdir(f"{spool}/{directory}"):
            parts = names.split(name)
            if parts is not None:
                found[parts[0]] = directory, name, parts[1]
    journals = set(os.listdir(f"{spool}/state"))
    for one in sorted(found):
        yield Place(one, *found[one], one in journals)


def corrupt(spool: str) -> list[str]:
    """The names of what was set aside."""
    return sorted(os.listdir(f"{spool}/{names.CORRUPT}"))


class Glance(NamedTuple):
    """One deferred message with one recipient. Its strings are printable ASCII without quotation marks and backslashes: they
    stand in JSON as they are. arrived: Unix seconds. octets, code: decimal digits; code "0" where no server
    spoke. marks: the times of the attempts, and whether the time before each counts as age."""

    queue_id: str
    due: int
    arrived: float
    octets: str
    sender: str
    recipient: str
    marks: list[tuple[float, bool]]
    relay: str
    dsn: str
    text: str
    code: str
    host: str


def glance(spool: str, place: Place) -> Glance | None:
    """The message that is there; None when it takes a closer look, or is gone."""
    one, directory, name, due, journal = place
    if not due or not journal:
        return None
    try:
        envelope = _ENVELOPE(_start(f"{spool}/{directory}/{name}", _LONGEST_ENVELOPE))
        history = _start(f"{spool}/state/{one}", _LONGEST_JOURNAL)
    except OSError:
        return None
    if envelope is None or not history or len(history) == _LONGEST_JOURNAL:
        return None
    latest, marks = None, []
    for line in history.splitlines(keepends=True):
        found = _DEFERRED(line)
        if found is not None:
            latest = found
            marks.append((float(found[1]), not found[8]))
        elif not _TOLD(line):
            return None
    if latest is None:
        return None
    arrived, sender, recipient, _, octets = envelope.groups()
    _, relay, dsn, text, code, host, _, _ = latest.groups()
    return Glance(one, due, float(arrived), octets, sender, recipient, marks, relay, dsn, text, code, host)


def _start(path: str, octets: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(descriptor, octets).decode("latin-1")
    finally:
        os.close(descriptor)
