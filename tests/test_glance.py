"""A glance tells what a closer look does, or leaves it to that."""

import io
import json
import os
from contextlib import redirect_stdout

import pytest

from smartrelay.cli.dump import write
from smartrelay.cli.expiry import Expiry
from smartrelay.cli.listing import as_object
from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status, deferred
from smartrelay.spool import names
from smartrelay.spool.glance import glance, walk
from smartrelay.spool.history import Notice, attempt, bounced
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.listing import entries
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put

WAITS = Status(DEFERRED, "4.4.1", "connection timed out", host="a.example:25", phase="connecting")
SAID = Status(DEFERRED, "4.7.1", "451 4.7.1 greylisted", 451, "mx[192.0.2.1]:25", "sending RCPT TO", doubt=True)
EXPIRY = Expiry(5 * 86400.0, 3600.0, 1_800_100_000.25)
NOWHERE = Status(DEFERRED, "4.3.5", "no [[relay]] rule is for this")


@pytest.fixture
def spool(tmp_path: object) -> str:
    return new_spool(str(tmp_path))


def wait(spool: str, *events: Event, sender: str = "s@example.org", recipients: tuple[str, ...] = ("r@example.net",)) -> str:
    one = put(Queue(spool), recipients, sender=sender)
    os.rename(f"{spool}/new/{one}", f"{spool}/cur/{names.waiting_name(one, 1_900_000_000)}")
    if events:
        Journal(spool, one).append(*events, sync=False)
    return one


def both(spool: str) -> tuple[list[bool], list[str], list[str]]:
    """Which a glance was enough for; all lines with glances; all lines without."""
    out = io.StringIO()
    with redirect_stdout(out):
        write(spool, EXPIRY)
    closely = [json.dumps(as_object(each, EXPIRY)) for each in entries(spool)]
    return [glance(spool, place) is not None for place in walk(spool)], out.getvalue().splitlines(), closely


@pytest.mark.parametrize(
    "statuses",
    [[WAITS], [SAID], [NOWHERE], [WAITS, SAID, WAITS, NOWHERE]],
    ids=["no reply", "a reply", "no host", "four tries"],
)
@pytest.mark.parametrize("sender", ["s@example.org", ""])
def test_a_deferred_message_for_one_recipient_takes_a_glance(spool: str, statuses: list[Status], sender: str) -> None:
    wait(spool, *(attempt(1_800_000_000.5 + i, "work", {0: each}) for i, each in enumerate(statuses)), sender=sender)
    wait(spool, attempt(1_800_000_000.5, "work", {0: statuses[0]}, hosts=["a.example:25", "[::1]:25"]), sender=sender)
    glanced, quick, closely = both(spool)
    assert glanced == [True, True]
    assert quick == closely


def test_what_waits_for_an_account_or_was_told_of_takes_a_glance_too(spool: str) -> None:
    """A relay that lets nobody in, or is down for hours, makes a whole queue like this. What it waits for others counts as
    age, and for ourselves it does not (law 11)."""
    ours = deferred("4.7.8", "sign-in refused", host="a.example:25", phase="signing in")
    told = Notice(1, 1_800_000_003.25, [], delayed=[0], levels=[1], until=1_800_400_000.0)
    ages = [WAITS, ours, ours, WAITS]
    for count in range(1, 5):
        wait(spool, *(attempt(1_800_000_000.5 + 3000 * i, "work", {0: each}) for i, each in enumerate(ages[:count])))
    wait(
        spool, attempt(1_800_000_000.5, "work", {0: WAITS}, told), bounced(1_800_000_004.0, 1), attempt(1.5, "work", {0: ours})
    )
    glanced, quick, closely = both(spool)
    assert glanced == [True] * 5
    assert quick == closely
    expires = [json.loads(line)["expires"] for line in quick]
    assert [each - expires[0] for each in expires] == [0, 0, 0, -3000, 0]
    assert expires[0] == int(EXPIRY.now + EXPIRY.lifetime - 3600.5)


def test_without_a_configuration_it_is_not_known_when_mail_is_given_up(spool: str) -> None:
    wait(spool, attempt(1.5, "work", {0: WAITS}))
    wait(spool)
    out = io.StringIO()
    with redirect_stdout(out):
        write(spool, None)
    assert [json.loads(line)["expires"] for line in out.getvalue().splitlines()] == [None, None]


def test_everything_else_gets_a_closer_look(spool: str) -> None:
    tried = attempt(1.5, "work", {0: WAITS})
    wait(spool)
    wait(spool, tried, recipients=("a@example.net", "b@example.net"))
    wait(spool, tried, recipients=('"a b"@example.net',))
    wait(spool, tried, recipients=("jürgen@example.net",))
    wait(spool, {"event": "hold", "time": 1.5}, tried)
    wait(spool, attempt(1.5, "work", {0: Status(DEFERRED, "4.0.0", 'a "quoted" \\ word')}))
    wait(spool, attempt(1.5, "work", {0: Status(DELIVERED, "2.0.0", "ok")}))
    wait(spool, attempt(1.5, "work", {0: Status(FAILED, "5.1.1", "no such user")}))
    wait(spool, *[tried] * 200)
    put(Queue(spool))
    glanced, quick, closely = both(spool)
    assert glanced == [False] * 10
    assert quick == closely


@pytest.mark.parametrize("end", [b" " * 700, b'{"event":"attempt","ti', b"\n", b"\0\n"])
def test_what_stands_behind_the_last_event_is_left_to_the_closer_look(spool: str, end: bytes) -> None:
    one = wait(spool, attempt(1.5, "work", {0: WAITS}))
    with open(f"{spool}/state/{one}", "ab") as file:
        file.write(end)
    glanced, quick, closely = both(spool)
    assert glanced == [False]
    assert quick == closely


def test_a_long_queue_is_shown_whole_and_in_order_by_two_processes(spool: str) -> None:
    tried = attempt(1.5, "work", {0: WAITS})
    for number in range(9):
        wait(spool, tried, recipients=(f"r{number}@example.net",) * (1 + number % 3))
    for long in (1, 2, 9, 10):
        out = io.StringIO()
        with redirect_stdout(out):
            write(spool, EXPIRY, long=long)
        assert out.getvalue().splitlines() == [json.dumps(as_object(each, EXPIRY)) for each in entries(spool)]


def test_a_message_that_a_pass_takes_in_meanwhile_is_shown(spool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was seen in `new`, and again in `cur`: that is where it is."""
    one = put(Queue(spool))
    listdir = os.listdir

    def moving(path: str) -> list[str]:
        found = listdir(path)
        if path.endswith("/new") and found:
            os.rename(f"{path}/{one}", f"{spool}/cur/{names.waiting_name(one, 1_900_000_000)}")
        return found

    monkeypatch.setattr("smartrelay.spool.glance.os.listdir", moving)
    assert [(place.queue_id, place.directory) for place in walk(spool)] == [(one, "cur")]
