"""Rows: what a listing shows is the same, whether a message took a glance or a closer look; any order; every filter."""

import os
from pathlib import Path

import pytest

from smartrelay.cli.expiry import Expiry
from smartrelay.cli.rows import ORDERS, of_entry, ordered, rows
from smartrelay.cli.select import Filters
from smartrelay.mail.status import DEFERRED, DELIVERED, Status, deferred
from smartrelay.spool import names
from smartrelay.spool.glance import Glance
from smartrelay.spool.history import attempt
from smartrelay.spool.journal import Journal
from smartrelay.spool.listing import Entry, entries
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put
from tests.support.rows import NOW, row

SAID = Status(DEFERRED, "4.7.1", "451 4.7.1 greylisted", 451, "mx[192.0.2.1]:25", "rcpt")
EXPIRY = Expiry(5 * 86400.0, 3600.0, NOW + 1000)


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def wait(spool: str, one: str, *events: dict[str, object]) -> None:
    os.rename(f"{spool}/new/{one}", f"{spool}/cur/{names.waiting_name(one, NOW + 300)}")
    Journal(spool, one).append(*events, sync=False)


@pytest.mark.parametrize("ours", [False, True])
def test_a_glance_shows_what_a_closer_look_does(spool: str, ours: bool) -> None:
    wait(spool, put(Queue(spool)), attempt(NOW, "work", {0: SAID}) | ({"ours": [0]} if ours else {}))
    wait(spool, put(Queue(spool), sender=""), attempt(NOW, "work", {0: deferred("4.4.1", "connect to x: refused")}))
    found = list(rows(spool))
    closely = [of_entry(entry) for entry in entries(spool)]
    assert all(isinstance(each.seen, Glance) for each in found) and all(isinstance(each.seen, Entry) for each in closely)
    assert [each[:-1] for each in found] == [each[:-1] for each in closely]
    assert [int(each.age(EXPIRY)) for each in found] == [int(each.age(EXPIRY)) for each in closely]
    assert found[0].ours is ours
    assert found[0].reason == "host mx[192.0.2.1]:25 said: 451 4.7.1 greylisted"


def test_only_those_who_wait_are_shown_and_nothing_in_them_can_move_a_cursor(spool: str) -> None:
    one = put(Queue(spool), ["gone@x", "r@x"])
    bad = Status(DEFERRED, "4.0.0", "\x1b[31mred\r\n\u202eabc\t", 450, "h")
    wait(spool, one, attempt(NOW, "work", {0: Status(DELIVERED, "2.0.0", "ok"), 1: bad}))
    (found,) = rows(spool)
    assert [address for address, _ in found.waiting] == ["r@x"]
    assert found.recipients == ("gone@x", "r@x")
    assert all(text.isprintable() for text in (found.sender, *found.recipients, found.reason))


OLD, NEW = row(old=900, one="A"), row(old=1, one="B", state="new")
ROWS = [OLD, row("z@a.example", ("r@z.example", "b"), old=500, one="C", octets=5), NEW, row(one="D", old=300, state="held")]


@pytest.mark.parametrize(
    ("by", "expected", "reversed_"),
    [
        ("age", "ACDB", "BDCA"),
        ("size", "ADBC", "CADB"),
        ("next", "BACD", "DACB"),
        ("sender", "CADB", "ADBC"),
        ("recipient", "ADBC", "CADB"),
        ("state", "BACD", "DACB"),
        ("reason", "CADB", "ADBC"),
    ],
)
def test_every_order_and_its_reverse_with_equals_by_age(by: str, expected: str, reversed_: str) -> None:
    by_age = sorted(ROWS, key=lambda each: each.arrived)
    assert "".join(each.queue_id for each in ordered(by_age, by, reverse=False)) == expected
    assert "".join(each.queue_id for each in ordered(by_age, by, reverse=True)) == reversed_


def test_there_is_a_law_for_every_order() -> None:
    assert set(ORDERS) == {"age", "size", "next", "sender", "recipient", "state", "reason"}


def test_what_is_in_order_already_is_not_collected() -> None:
    endless = iter(lambda: OLD, None)
    assert next(iter(ordered(endless, "age", reverse=False))) is OLD


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "ACBD"),
        (Filters(state="held"), "D"),
        (Filters(sender="*@A.example"), "C"),
        (Filters(recipient="r@*.example"), "C"),
        (Filters(recipient="R@EXAMPLE.NET", state="new"), "B"),
        (Filters(older_than=500), "AC"),
        (Filters(sender="<>"), ""),
    ],
)
def test_filters(filters: Filters, expected: str) -> None:
    assert "".join(each.queue_id for each in filters.of(ROWS, NOW)) == expected
