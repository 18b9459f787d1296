"""When mail is given up, as listings show it: the age of law 11, and the time that is left to it."""

import os
from pathlib import Path

import pytest

from smartrelay.cli.caller import Common
from smartrelay.cli.expiry import Expiry, expiry
from smartrelay.cli.listing import expires
from smartrelay.mail.status import DEFERRED, DELIVERED, Status, deferred
from smartrelay.spool.history import attempt, postponed
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.listing import entry
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put

ARRIVED, HOUR, DAY = 1_800_000_000.0, 3600.0, 86400.0
LATER, OURS, YES = Status(DEFERRED, "4.2.0", "later"), deferred("4.7.8", "no sign-in"), Status(DELIVERED, "2.0.0", "ok")


def given_up(folder: Path, now: float, *events: Event, held: bool = False, recipients: int = 1) -> int | None:
    """When, as seen `now` seconds after its arrival, in seconds after that."""
    spool = new_spool(str(folder))
    one = put(Queue(spool), [f"r{number}@x" for number in range(recipients)], arrived=ARRIVED)
    for event in events:
        Journal(spool, one).append({**event, "time": ARRIVED + event["time"]}, sync=False)
    if held:
        os.rename(f"{spool}/new/{one}", f"{spool}/hold/{one}")
    found = expires(entry(spool, one), Expiry(5 * DAY, 6 * HOUR, ARRIVED + now))
    return None if found is None else found - int(ARRIVED)


def tries(*times: float, status: Status = LATER, index: int = 0) -> list[Event]:
    return [attempt(time, "work", {index: status}) for time in times]


def test_mail_that_is_tried_all_the_time_is_given_up_a_lifetime_after_its_arrival(tmp_path: Path) -> None:  # C-005
    times = [hours * HOUR for hours in range(0, 30, 3)]
    assert given_up(tmp_path, 28 * HOUR, *tries(*times)) == 5 * DAY


def test_time_in_which_no_pass_was_made_puts_it_off(tmp_path: Path) -> None:
    """Law 11: of three days of sleep six hours count."""
    assert given_up(tmp_path, 3 * DAY + HOUR, *tries(0, HOUR)) == 5 * DAY + 3 * DAY - 6 * HOUR


def test_our_own_trouble_holds_and_rates_put_it_off(tmp_path: Path) -> None:
    hold: list[Event] = [{"event": "hold", "time": 2 * HOUR}, {"event": "release", "time": 4 * HOUR}]
    events = [*tries(HOUR), *hold, postponed(5 * HOUR, "work", 0, [0]), *tries(7 * HOUR, status=OURS)]
    assert given_up(tmp_path, 8 * HOUR, *events) == 5 * DAY + 5 * HOUR


def test_the_first_of_those_who_wait_counts(tmp_path: Path) -> None:
    events = [
        *tries(HOUR, status=OURS, index=0),
        *tries(HOUR, status=YES, index=1),
        *tries(HOUR, index=2),
    ]
    assert given_up(tmp_path, 2 * HOUR, *events, recipients=3) == 5 * DAY


def test_one_whose_time_is_over_goes_with_its_next_attempt(tmp_path: Path) -> None:
    times = [hours * HOUR for hours in range(0, 150, 5)]
    assert given_up(tmp_path, 149 * HOUR, *tries(*times)) == 149 * HOUR


def test_what_is_held_does_not_expire(tmp_path: Path) -> None:
    assert given_up(tmp_path, 9 * DAY, held=True) is None


@pytest.mark.parametrize("time", ["NaN", "-1", "1e300", '"then"', "null"])
def test_a_time_that_cannot_be_does_not_count(tmp_path: Path, time: str) -> None:
    spool = new_spool(str(tmp_path))
    one = put(Queue(spool), arrived=ARRIVED)
    with open(f"{spool}/state/{one}", "w", encoding="ascii") as file:
        file.write(f'{{"event":"hold","time":{time}}}\n')
    assert expires(entry(spool, one), Expiry(5 * DAY, 6 * HOUR, ARRIVED + HOUR)) == int(ARRIVED + 5 * DAY)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Expiry(5 * DAY, 6 * HOUR, 1_800_000_000.0)),
        ('[queue]\nlifetime = "2d"\nretry = ["1h"]\n', Expiry(2 * DAY, 2 * HOUR, 1_800_000_000.0)),
        ("[queue]\nlifetime = 5\n", None),
        ("not = = toml", None),
        (None, None),
    ],
)
def test_a_configuration_that_is_broken_leaves_it_unknown(tmp_path: Path, text: str | None, found: Expiry | None) -> None:
    path = tmp_path / "smartrelay.toml"
    if text is not None:
        path.write_text(text)
    assert expiry(Common(str(path), str(tmp_path)), lambda: 1_800_000_000.0) == found
