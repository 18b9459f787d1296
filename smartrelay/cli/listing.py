"""A message for programs: as JSON, with the members that `postqueue -j` has and more."""

import json
from typing import Any

from smartrelay.cli.expiry import Expiry
from smartrelay.mail.status import Status
from smartrelay.spool.listing import Entry

NULL_SENDER = "MAILER-DAEMON"
"""What Postfix shows for the sender of a notice."""
_QUEUES = {"new": "incoming", "held": "hold"}


def queue_name(entry: Entry) -> str:
    """Postfix's name for the state a message is in."""
    return _QUEUES.get(entry.state) or ("deferred" if entry.history.attempts else "incoming")


def as_object(entry: Entry, expiry: Expiry | None) -> dict[str, Any]:
    """A message as JSON: the members of `postqueue -j`, then ours. expiry: None where that is not known."""
    envelope, history = entry.envelope, entry.history
    return {
        "queue_name": queue_name(entry),
        "queue_id": entry.queue_id,
        "arrival_time": int(envelope.arrived),
        "message_size": envelope.facts.octets,
        "forced_expire": False,
        "sender": envelope.reverse_path or NULL_SENDER,
        "recipients": [_recipient(envelope.recipients[index].address, history.last[index]) for index in history.waiting],
        "next_attempt": entry.due or None if entry.state == "waiting" else None,
        "expires": expires(entry, expiry),
        "attempts": history.attempts,
        "relay": history.relay or None,
    }


def expires(entry: Entry, expiry: Expiry | None) -> int | None:
    """When the first of those who wait is given up (Unix seconds); None where that is not known, and while it is held."""
    history = entry.history
    if expiry is None or entry.state == "held":
        return None
    return min((expiry.at(entry.envelope.arrived, history.marks(index)) for index in history.waiting), default=None)


def age(entry: Entry, expiry: Expiry | None) -> int | None:
    """For how many seconds the mail of those who wait could have gone, the greatest; None where that is not known."""
    history, arrived = entry.history, entry.envelope.arrived
    if expiry is None:
        return None
    ages = []
    for index in history.waiting:
        marks = list(history.marks(index))
        now = marks[-1].time if marks and entry.state == "held" else expiry.now
        ages.append(int(expiry._replace(now=now).age(arrived, marks)))
    return max(ages, default=None)


def recipients(entry: Entry) -> list[dict[str, Any]]:
    """All recipients as JSON, those too whose way has ended, with what came of each."""
    history = entry.history
    return [
        {**_recipient(recipient.address, history.last[index]), "tries": history.tries[index], "warned": history.warned[index]}
        for index, recipient in enumerate(entry.envelope.recipients)
    ]


def _recipient(address: str, status: Status | None) -> dict[str, Any]:
    found: dict[str, Any] = {"address": address}
    if status is not None:
        if not status.final:
            found["delay_reason"] = reason(status)
        found |= {"status": status.action, "dsn": status.dsn, "host": status.host or None}
    return found


def reason(status: Status) -> str:
    """Why a recipient waits, as Postfix words it."""
    return f"host {status.host} said: {status.text}" if status.code else status.text


def as_line(entry: Entry, expiry: Expiry | None) -> str:
    """A message as a line of JSON."""
    return json.dumps(as_object(entry, expiry)) + "\n"
