"""The names in the spool's directories, which are the state of the queue."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.spool import names, queue_id
from smartrelay.spool.names import Scan
from smartrelay.spool.trouble import NoSuchMessage
from tests.support.queues import many, new_spool

NOW = 1_800_000_000.0
ONE, TWO, THREE = (queue_id.new(number, b"1234") for number in (1, 2, 3))


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def touch(spool: str, *found: str) -> None:
    for name in found:
        os.close(os.open(f"{spool}/cur/{name}", os.O_CREAT | os.O_WRONLY, 0o600))


@many
@given(st.integers(0, 2**40))
def test_a_name_says_when_its_message_goes_next(due: int) -> None:
    assert names.split(names.waiting_name(ONE, due)) == (ONE, due)
    assert names.split(names.waiting_name(ONE, due + 0.9)) == (ONE, due)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (ONE, (ONE, 0)),
        (f"{ONE},n=", (ONE, 0)),
        (f"{ONE},n=-5", (ONE, 0)),
        (f"{ONE},n=1x", (ONE, 0)),
        (f"{ONE},n=²", (ONE, 0)),
        (f"{ONE},n=" + "9" * 40, (ONE, 0)),
        (f"{ONE}:2,S", (ONE, 0)),  # a Maildir reader's flags
        ("", None),
        ("README", None),
        (ONE[:16], None),
        (ONE.lower() + ",n=5", None),
        ("\udcff" * 17, None),
    ],
)
def test_an_unknown_end_is_due_now_and_an_unknown_id_is_no_message(name: str, meant: tuple[str, int] | None) -> None:
    assert names.split(name) == meant


def test_a_look_tells_due_from_waiting_from_strange(spool: str) -> None:
    due = [f"{ONE},n={int(NOW)}", f"{TWO},n=5", f"{THREE},n=0"]
    due += [queue_id.new(9, b"1234"), f"{queue_id.new(8, b'1234')},n=x", f"{queue_id.new(7, b'1234')},n=²"]
    waiting = [f"{queue_id.new(20, b'1234')},n={int(NOW) + 1}", f"{queue_id.new(21, b'1234')},n={int(NOW) + 86400}"]
    strange = ["README", "x" * 200, "\udcff\udcfe", ",n=5", "²" * 17]
    touch(spool, *due, *waiting, *strange)
    scan = Scan(spool, NOW)
    assert scan.due == sorted(due)
    assert sorted(scan.strange) == sorted(strange)
    assert (scan.waiting, scan.oldest) == (2, waiting[0])
    assert scan.next_due == NOW + 1


def test_a_time_too_far_off_is_due_now(spool: str) -> None:
    """A clock was wrong when it was written; or it is wrong now."""
    touch(spool, f"{ONE},n={int(NOW) + 86401}", f"{TWO},n={int(NOW) + 86400}", f"{THREE},n=999999999999999")
    assert Scan(spool, NOW).due == [f"{ONE},n={int(NOW) + 86401}", f"{THREE},n=999999999999999"]
    longer = Scan(spool, NOW, horizon=2 * 86400.0)
    assert (longer.due, longer.waiting) == ([f"{THREE},n=999999999999999"], 2)


def test_everything_is_due_when_everything_is_wanted(spool: str) -> None:
    touch(spool, f"{ONE},n={int(NOW) + 500}", f"{TWO},n=5", "README")
    scan = Scan(spool, NOW, everything=True)
    assert scan.due == [f"{ONE},n={int(NOW) + 500}", f"{TWO},n=5"]
    assert (scan.waiting, scan.strange) == (0, ["README"])


def test_a_queue_of_thousands_that_wait_costs_its_names_only(spool: str) -> None:
    """By count, not by the clock: one listing, and no file is opened (they cannot be: they are dangling links)."""
    count = 3_000
    for number in range(count):
        os.symlink("nowhere", f"{spool}/cur/{queue_id.new(number, b'1234')},n={int(NOW) + 60}")
    seen: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(spool):
            seen.append(event)

    sys.addaudithook(listen)
    found = names.idle(spool, NOW)
    listening = False
    assert found and found.waiting == count
    assert seen == ["os.listdir", "os.listdir"]  # new/ and cur/


def waiting(spool: str) -> tuple[int, str] | None:
    """How many messages wait, and the name of the oldest, where there is nothing to do."""
    found = names.idle(spool, NOW)
    return (found.waiting, found.oldest) if found else None


def test_a_pass_is_idle_when_nothing_is_new_due_or_strange(spool: str) -> None:  # C-015
    assert waiting(spool) == (0, "")
    touch(spool, f"{ONE},n={int(NOW) + 60}")
    assert waiting(spool) == (1, f"{ONE},n={int(NOW) + 60}")
    assert names.idle(spool, NOW + 60) is None
    touch(spool, "README")
    assert names.idle(spool, NOW) is None
    os.unlink(f"{spool}/cur/README")
    os.mkdir(f"{spool}/new/{TWO}")
    assert names.idle(spool, NOW) is None


@pytest.mark.parametrize("name", [f"new/{ONE}", f"hold/{ONE}", f"cur/{ONE},n=5", f"cur/{ONE}", f"cur/{ONE}:2,S"])
def test_a_message_is_found_in_every_state(spool: str, name: str) -> None:
    os.close(os.open(f"{spool}/{name}", os.O_CREAT, 0o600))
    assert names.find(spool, ONE) == f"{spool}/{name}"
    with pytest.raises(NoSuchMessage):
        names.find(spool, TWO)
