"""What happened to one message, event by event, as a person reads it."""

import hashlib  # noqa: F401 -- for the id of a notice, while root can still read the interpreter
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from smartrelay.cli.moment import moment
from smartrelay.mail.status import Status, visible
from smartrelay.relay.giving_up import OPERATOR
from smartrelay.spool import queue_id
from smartrelay.spool.history import Notice, results
from smartrelay.spool.journal import Event
from smartrelay.spool.listing import Entry

_VERBS = {"hold": "held by the operator", "release": "released by the operator", "retry": "made due by the operator"}
_KINDS = (
    ("recipients", "a bounce"),
    ("delayed", "a delay notice"),
    ("relayed", "a success report"),
    ("delivered", "a success report"),
)
_NAMED = 3
"""Recipients that are named where more have the same in common."""

_ERRORS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What an event of a damaged journal makes of itself."""


def timeline(entry: Entry, width: int) -> list[str]:
    """The lines: arrival, attempts, notices, what operators did. width: columns, 0 for lines of any length."""
    lines = filled(f"  {moment(entry.envelope.arrived)}  ", f"arrived from uid {entry.envelope.uid}", width)
    for event in entry.history.events:
        head = f"  {moment(event.get('time', 0))}  "
        try:
            sentences = list(_sentences(entry, event))
        except _ERRORS:
            sentences = [f"something that cannot be read ({event['event']})"]
        for sentence in sentences:
            lines += filled(head, sentence, width)
    return lines


def filled(head: str, text: str, width: int) -> list[str]:
    """`text` behind `head`, its further lines below its beginning. width: as for `timeline`."""
    text = visible(text)
    if width < len(head) + 20:
        return [head + text]
    lines = textwrap.wrap(text, width - len(head), break_long_words=False, break_on_hyphens=False)
    return [(head if not number else " " * len(head)) + line for number, line in enumerate(lines or [""])]


def _sentences(entry: Entry, event: Event) -> Iterator[str]:
    kind = event["event"]
    if kind == "attempt":
        yield from _attempt(entry, event)
    elif kind == "postponed":
        turn = moment(event.get("until") or 0)
        yield f"put off: the rate of relay {event.get('relay')} was used up; its turn comes {turn}"
    elif kind == "bounced":
        yield _queued(entry, entry.history.notices.get(event.get("number", 0)))
    elif kind in _VERBS:
        yield _VERBS[kind]


def _attempt(entry: Entry, event: Event) -> Iterator[str]:
    # a message for a thousand must not tell the same a thousand times
    alike: dict[tuple[Status, bool], list[int]] = {}
    for index, status in results(event):
        alike.setdefault((status, index in event.get("ours", ())), []).append(index)
    for (status, ours), indices in alike.items():
        yield f"{status.action} {_named(entry, indices)}: {_answer(str(event['relay']), status)}{_OURS if ours else ''}"
    if "notice" in event:
        yield f"called for: {_called(entry, event['notice'])}"


_OURS = " (our own trouble: the time before it is no age)"


def _answer(relay: str, status: Status) -> str:
    """Who said what, and when in the session."""
    where = ["given up by the operator" if relay == OPERATOR else f"relay {relay}"]
    where += [f"host {status.host}"] if status.host else []
    where += [f"while {status.phase}"] if status.phase else []
    text = status.text if status.code else f"{status.dsn} {status.text}"
    return f"{', '.join(where)}: {text}"


def _called(entry: Entry, call: dict[str, Any]) -> str:
    """What a notice tells of whom, and to whom."""
    kinds: dict[str, list[int]] = {}
    for member, kind in _KINDS:
        if indices := call.get(member):
            kinds.setdefault(kind, []).extend(map(int, indices))
    told = f"<{entry.envelope.reverse_path}>" if entry.envelope.reverse_path else "the postmaster"
    what = "; ".join(f"{kind} about {_named(entry, indices)}" for kind, indices in kinds.items())
    return f"notice {int(call['number'])} to {told}: {what}"


def _queued(entry: Entry, notice: Notice | None) -> str:
    if notice is None:
        return "a notice was queued"
    one = queue_id.derived(int(notice.called * 1e6), entry.queue_id, notice.number)
    return f"notice {notice.number} was queued as {one}"


def _named(entry: Entry, indices: Sequence[int]) -> str:
    recipients = entry.envelope.recipients
    named = [f"<{recipients[index].address}>" for index in indices if index < len(recipients)]
    more = len(named) - _NAMED
    return ", ".join(named) if more <= 1 else f"{', '.join(named[:_NAMED])} and {more} more"
