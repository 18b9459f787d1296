"""The queue for programs: JSON lines as `postqueue -j` gives them, tab-separated text, Postfix's mailq."""

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from smartrelay.cli.expiry import Expiry
from smartrelay.mail.status import Status
from smartrelay.spool.listing import Entry

_NULL_SENDER = "MAILER-DAEMON"
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
        "sender": envelope.reverse_path or _NULL_SENDER,
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


def write_json(found: Iterable[Entry], expiry: Expiry | None) -> None:
    """One object a line; nothing for an empty queue."""
    for entry in found:
        sys.stdout.write(as_line(entry, expiry))


def as_line(entry: Entry, expiry: Expiry | None) -> str:
    """A message as a line of JSON."""
    return json.dumps(as_object(entry, expiry)) + "\n"


def write_tabs(found: Iterable[Entry]) -> None:
    """One line a message: id, state, arrival, size, next attempt, sender, waiting recipients, latest reason."""
    for entry in found:
        envelope, history = entry.envelope, entry.history
        last = next((s for index in history.waiting if (s := history.last[index]) is not None), None)
        columns = [
            entry.queue_id,
            entry.state,
            str(int(envelope.arrived)),
            str(envelope.facts.octets),
            str(entry.due) if entry.state == "waiting" else "-",
            envelope.reverse_path or "<>",
            ",".join(envelope.recipients[index].address for index in history.waiting),
            reason(last) if last else "-",
        ]
        sys.stdout.write("\t".join(columns) + "\n")


_MAILQ_HEAD = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
_MAILQ_BLANK = " " * 47


def write_mailq(found: Iterable[Entry]) -> None:
    """Postfix's layout for long queue ids, to the column: monitoring tools read it."""
    octets = count = 0
    for entry in found:
        if not count:
            print(_MAILQ_HEAD)
        count += 1
        octets += entry.envelope.facts.octets
        mark = "!" if entry.state == "held" else ""
        when = time.asctime(time.localtime(entry.envelope.arrived))[:19]
        sender = entry.envelope.reverse_path or _NULL_SENDER
        print(f"{entry.queue_id + mark:<17} {entry.envelope.facts.octets:>8} {when:>19} {sender}")
        before = ""
        for index in entry.history.waiting:
            status = entry.history.last[index]
            why = reason(status) if status else ""
            if why and why != before:
                print(f"({why})".rjust(76))
            before = why
            print(_MAILQ_BLANK + entry.envelope.recipients[index].address)
        print()
    if count:
        print(f"-- {octets // 1024} Kbytes in {count} Request{'' if count == 1 else 's'}.")
    else:
        print("Mail queue is empty")
