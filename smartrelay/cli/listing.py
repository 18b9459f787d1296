"""The queue for programs: JSON lines as `postqueue -j` gives them, tab-separated text, Postfix's mailq."""

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from smartrelay.mail.status import Status
from smartrelay.spool.listing import Entry

_NULL_SENDER = "MAILER-DAEMON"
_QUEUES = {"new": "incoming", "held": "hold"}


def queue_name(entry: Entry) -> str:
    """Postfix's name for the state a message is in."""
    return _QUEUES.get(entry.state) or ("deferred" if entry.history.attempts else "incoming")


def as_object(entry: Entry) -> dict[str, Any]:
    """A message as JSON: the members of `postqueue -j`, then ours."""
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
        "expires": None,
        "attempts": history.attempts,
        "relay": history.relay or None,
    }


def _recipient(address: str, status: Status | None) -> dict[str, Any]:
    found: dict[str, Any] = {"address": address}
    if status is not None:
        found |= {
            "delay_reason": reason(status),
            "status": status.action,
            "dsn": status.dsn,
            "host": status.host or None,
        }
    return found


def reason(status: Status) -> str:
    """Why a recipient waits, as Postfix words it."""
    return f"host {status.host} said: {status.text}" if status.code else status.text


def write_json(found: Iterable[Entry]) -> None:
    """One object a line; nothing for an empty queue."""
    for entry in found:
        sys.stdout.write(as_line(entry))


def as_line(entry: Entry) -> str:
    """A message as a line of JSON."""
    return json.dumps(as_object(entry)) + "\n"


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
