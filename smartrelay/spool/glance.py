"""A quick look at a message that waits: what a listing shows of it, found by pattern in the files as we write them.

Most of a long queue is messages for one recipient that were deferred and nothing else. To take their JSON apart and check
it costs four times what a look costs; everything else, and whatever is not to the letter what we write, is `listing`'s.
"""

import os
import re
from typing import NamedTuple

_TEXT = r'"([^"\\\x00-\x1f\x7f-\xff]*)"'
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9._-]+"
_ENVELOPE = re.compile(
    r'Smartrelay-Envelope: \{"v":1,"arrived":([0-9]+)\.[0-9]{6},"uid":[0-9]+,'
    rf'"sender":"((?:{_ADDRESS})?)","recipients":\["({_ADDRESS})"\],"message_id":{_TEXT},'
    r'"stored": *[0-9]+,"octets": *([0-9]+),"longest": *[0-9]+,"eight_bit":[01],"nul":[01],"bare_cr":[01]\}\n'
).match
_DEFERRED = re.compile(
    rf'\{{"event":"attempt","time":[0-9.]+,"relay":{_TEXT},"results":'
    rf'\[\[0,"deferred",{_TEXT},{_TEXT},([0-9]+),{_TEXT},{_TEXT},(?:true|false)\]\]\}}\n'
).fullmatch
_LONGEST_ENVELOPE, _LONGEST_JOURNAL = 1 << 12, 1 << 14


class Glance(NamedTuple):
    """One deferred message with one recipient. Its strings are printable ASCII without quotation marks and backslashes: they
    stand in JSON as they are. arrived, octets, code: decimal digits; code "0" where no server spoke."""

    queue_id: str
    due: int
    arrived: str
    octets: str
    sender: str
    recipient: str
    attempts: int
    relay: str
    dsn: str
    text: str
    code: str
    host: str


def glance(path: str, journal: str, queue_id: str, due: int) -> Glance | None:
    """The message in the file `path`; None when it takes a closer look, or is gone."""
    try:
        envelope = _ENVELOPE(_start(path, _LONGEST_ENVELOPE))
        history = _start(journal, _LONGEST_JOURNAL)
    except OSError:
        return None
    if envelope is None or not history or len(history) == _LONGEST_JOURNAL:
        return None
    lines = history.splitlines(keepends=True)
    latest = None
    for line in lines:
        latest = _DEFERRED(line)
        if latest is None:
            return None
    if latest is None:
        return None
    arrived, sender, recipient, _, octets = envelope.groups()
    relay, dsn, text, code, host, _ = latest.groups()
    return Glance(queue_id, due, arrived, octets, sender, recipient, len(lines), relay, dsn, text, code, host)


def _start(path: str, octets: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(descriptor, octets).decode("latin-1")
    finally:
        os.close(descriptor)
