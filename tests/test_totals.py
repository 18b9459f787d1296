"""The running totals last from pass to pass, and begin anew where their file cannot be trusted."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.spool import totals
from smartrelay.spool.totals import DONE, RESULTS, Totals, Work
from tests.support.queues import few, new_spool, scratch

counts = st.integers(0, 10**14)
times = st.floats(0, 1e11)
works = st.builds(Work, times, times, st.sampled_from(["", *sorted(RESULTS)]), *[counts] * 9)


@given(st.builds(Totals, counts, counts, counts, counts, times, counts, times, works))
@few
def test_what_is_saved_is_loaded(found: Totals) -> None:
    with scratch() as folder:
        spool = new_spool(folder)
        totals.save(spool, found)
        assert totals.load(spool) == found


def test_a_pass_adds_to_what_the_ones_before_have_done() -> None:
    before = Totals(delivered=5, deferred=6, bounced=7, expired=8, success=100.0, bad_hosts=2, bad_until=900.0)
    nothing = before.plus(Work(200.0, 201.0, DONE, deferred=3))
    assert (nothing.delivered, nothing.deferred, nothing.success, nothing.bad_hosts) == (5, 9, 100.0, 2)
    some = nothing.plus(Work(300.0, 301.0, DONE, delivered=1, bounced=2, expired=3))
    assert (some.delivered, some.deferred, some.bounced, some.expired, some.success) == (6, 9, 9, 11, 301.0)
    assert some.work.end == 301.0


def test_it_is_for_the_owner_alone_and_may_be_deleted_with_its_directory(tmp_path: Path) -> None:
    spool = new_spool(str(tmp_path))
    assert totals.load(spool) == Totals()
    os.rmdir(f"{spool}/var")
    assert totals.load(spool) == Totals()
    totals.save(spool, Totals(delivered=1))
    assert stat.S_IMODE(os.stat(totals.path(spool)).st_mode) == 0o600
    assert totals.load(spool).delivered == 1


GOOD = "totals delivered=1 deferred=0 bounced=0 expired=0 success=0.0 bad_hosts=0 bad_until=0.0\nwork " + " ".join(
    f"{name}={value}" for name, value in Work()._asdict().items()
)


def test_the_format_is_this(tmp_path: Path) -> None:
    """A pass of a later version must know it by its members."""
    spool = new_spool(str(tmp_path))
    Path(totals.path(spool)).write_text(GOOD)
    assert totals.load(spool) == Totals(delivered=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff" * 100,
        b"x" * 100_000,
        b"\n\n\n",
        GOOD.encode() + b" more=1",
        GOOD.replace("delivered=1", "delivered=-1").encode(),
        GOOD.replace("delivered=1", "delivered=1e3").encode(),
        GOOD.replace("delivered=1", "delivered=" + "9" * 5000).encode(),
        GOOD.replace("success=0.0", "success=nan").encode(),
        GOOD.replace("success=0.0", "success=inf").encode(),
        GOOD.replace("result=", "result=\x1b[2J").encode(),
        GOOD.replace(" expired=0", "", 1).encode(),
    ],
)
def test_what_is_not_to_the_letter_what_we_write_begins_anew(tmp_path: Path, content: bytes) -> None:
    spool = new_spool(str(tmp_path))
    Path(totals.path(spool)).write_bytes(content)
    assert totals.load(spool) == Totals()


def test_what_is_no_file_begins_anew(tmp_path: Path) -> None:
    """Nor is it waited for."""
    spool = new_spool(str(tmp_path))
    os.mkfifo(totals.path(spool))
    assert totals.load(spool) == Totals()
