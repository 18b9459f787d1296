"""The story of a message for a person: each event once, in words, in the columns that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from smartrelay.cli.timeline import filled, timeline
from smartrelay.mail.status import DEFERRED, DELIVERED, EXPIRED, FAILED, Status, deferred
from smartrelay.relay.giving_up import OPERATOR
from smartrelay.spool import queue_id
from smartrelay.spool.history import Notice, attempt, bounced, postponed
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.listing import Entry, entry
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put

NOW = 1_800_000_000.0
HOST = "mx.b.example[192.0.2.1]:25"
BUSY = Status(DEFERRED, "4.2.1", "450 4.2.1 greylisted", 450, HOST, "sending RCPT TO")
DOWN = Status(DEFERRED, "4.4.1", "connection refused", 0, "mx.b.example:25", "connecting")
NO = Status(FAILED, "5.1.1", "550 5.1.1 no such user", 550, HOST, "sending RCPT TO")
YES = Status(DELIVERED, "2.0.0", "250 2.0.0 taken", 250, HOST, "waiting for the reply to the message")
OURS = deferred("4.7.8", "535 5.7.8 wrong", host=HOST, phase="signing in")
WHEN = re.compile(r"  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")


def message(folder: Path, *events: Event, sender: str = "s@example.org", recipients: int = 3) -> Entry:
    spool = new_spool(str(folder))
    one = put(Queue(spool), [f"r{number}@b.example" for number in range(recipients)], sender=sender)
    Journal(spool, one).append(*events, sync=False)
    return entry(spool, one)


def told(found: Entry) -> list[str]:
    """The sentences behind the arrival's, without their times."""
    lines = timeline(found, 0)
    assert all(WHEN.match(line) for line in lines)
    assert lines[0].endswith(f"  arrived from uid {found.envelope.uid}")
    return [line[23:] for line in lines[1:]]


def test_an_attempt_says_for_whom_by_what_at_which_host_when_in_the_session_and_what_was_said(tmp_path: Path) -> None:
    found = message(tmp_path, attempt(NOW, "work", {0: BUSY, 1: NO, 2: YES}), attempt(NOW, "work", {0: DOWN}))
    assert told(found) == [
        f"deferred <r0@b.example>: relay work, host {HOST}, while sending RCPT TO: 450 4.2.1 greylisted",
        f"failed <r1@b.example>: relay work, host {HOST}, while sending RCPT TO: 550 5.1.1 no such user",
        f"delivered <r2@b.example>: relay work, host {HOST}, while waiting for the reply to the message: 250 2.0.0 taken",
        "deferred <r0@b.example>: relay work, host mx.b.example:25, while connecting: 4.4.1 connection refused",
    ]


def test_who_has_the_same_in_common_is_told_of_at_once(tmp_path: Path) -> None:
    found = message(tmp_path, attempt(NOW, "work", dict.fromkeys(range(1000), BUSY)), recipients=1000)
    (line,) = told(found)
    assert line.startswith("deferred <r0@b.example>, <r1@b.example>, <r2@b.example> and 997 more: relay work")


def test_our_own_trouble_and_the_operators_word_are_told_apart(tmp_path: Path) -> None:
    given_up = Status(EXPIRED, "5.4.7", BUSY.text, BUSY.code, BUSY.host, BUSY.phase)
    ours, gone = told(message(tmp_path, attempt(NOW, "work", {0: OURS}), attempt(NOW, OPERATOR, {0: given_up})))
    assert ours.endswith("while signing in: 4.7.8 535 5.7.8 wrong (our own trouble: the time before it is no age)")
    assert gone.startswith("expired <r0@b.example>: given up by the operator, ")


def test_notices_are_told_of_by_kind_number_and_id(tmp_path: Path) -> None:
    notice = Notice(2, NOW, [0], delayed=[1], relayed=[2], delivered=[3], levels=[1], until=NOW + 9)
    statuses = {0: NO, 1: BUSY, 2: YES, 3: YES}
    found = message(tmp_path, attempt(NOW, "work", statuses, notice), bounced(NOW, 2), bounced(NOW, 7), recipients=4)
    assert told(found)[-3:] == [
        "called for: notice 2 to <s@example.org>: a bounce about <r0@b.example>; a delay notice about <r1@b.example>; "
        "a success report about <r2@b.example>, <r3@b.example>",
        f"notice 2 was queued as {queue_id.derived(int(NOW * 1e6), found.queue_id, 2)}",
        "a notice was queued",
    ]


def test_of_what_has_no_sender_the_postmaster_is_told(tmp_path: Path) -> None:
    found = message(tmp_path, attempt(NOW, "work", {0: NO}, Notice(1, NOW, [0])), sender="")
    assert told(found)[-1] == "called for: notice 1 to the postmaster: a bounce about <r0@b.example>"


def test_what_operators_and_rates_did_is_told(tmp_path: Path) -> None:
    verbs: list[Event] = [{"event": verb, "time": NOW} for verb in ("hold", "release", "retry")]
    found = told(message(tmp_path, *verbs, postponed(NOW, "work", NOW + 60, [0])))
    assert found[:3] == ["held by the operator", "released by the operator", "made due by the operator"]
    assert re.fullmatch(r"put off: the rate of relay work was used up; its turn comes \d{4}-.*", found[3])


@pytest.mark.parametrize("width", [44, 60, 80, 160])
def test_lines_stay_within_the_terminal_and_lose_no_word(tmp_path: Path, width: int) -> None:
    found = message(
        tmp_path, attempt(NOW, "work", dict.fromkeys(range(3), BUSY), Notice(1, NOW, [], delayed=[0, 1, 2], levels=[1, 1, 1]))
    )
    lines = timeline(found, width)
    longest = max(len(word) for word in " ".join(timeline(found, 0)).split())
    assert all(len(line) <= max(width, 23 + longest) for line in lines)
    assert " ".join(lines).split() == " ".join(timeline(found, 0)).split()
    assert len(lines) > len(timeline(found, 0)) or width == 160


def test_a_terminal_that_is_too_narrow_gets_whole_lines() -> None:
    assert filled("  head  ", "one two three", 20) == ["  head  one two three"]
    assert filled("  head  ", "", 80) == ["  head  "]


HOSTILE: list[dict[str, Any]] = [
    {"event": "attempt"},
    {"event": "attempt", "time": [], "relay": {}, "results": 7},
    {"event": "attempt", "time": 1e300, "relay": "\x1b[2J", "results": [[0, "deferred", "4", "x\x1b[2J", 0, "\n", "\r", 0]]},
    {"event": "attempt", "relay": "w", "results": [[0, "deferred", "4", "x", 0, "", "", 0]], "ours": 7},
    {"event": "attempt", "relay": "w", "results": [[99, "deferred", "4", "x", 0, "", "", 0]], "notice": {"number": []}},
    {"event": "bounced", "number": []},
    {"event": "postponed", "until": {}, "relay": []},
    {"event": "hold", "time": "then"},
    {"event": "never heard of"},
]


def test_a_damaged_journal_is_told_of_as_far_as_it_goes(tmp_path: Path) -> None:
    found = message(tmp_path)
    with open(f"{found.path.rsplit('/', 2)[0]}/state/{found.queue_id}", "w", encoding="ascii") as file:
        file.writelines(json.dumps(event) + "\n" for event in HOSTILE)
    lines = timeline(entry(found.path.rsplit("/", 2)[0], found.queue_id), 80)
    assert len(lines) >= len(HOSTILE) - 1
    assert all(line.isprintable() for line in lines)
