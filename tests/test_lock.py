"""The locks of a spool: one holder at a time, whether he waits for it or not."""

import os
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from smartrelay.errors import SpoolError
from smartrelay.spool.lock import hosts_lock, pass_lock
from smartrelay.spool.trouble import PassInProgress
from tests.support.queues import new_spool

SHORT = 0.05
"""Seconds that are waited for a lock that nobody gives up."""

PATIENT = 20.0

Lock = Callable[[str, float], AbstractContextManager[None]]


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


@pytest.mark.parametrize("holder", [0.0, SHORT])
@pytest.mark.parametrize("other", [0.0, SHORT])
def test_who_waits_and_who_does_not_take_the_same_lock(spool: str, holder: float, other: float) -> None:
    with pass_lock(spool, holder), pytest.raises(PassInProgress, match="another pass is at work"), pass_lock(spool, other):
        pytest.fail("there are two holders")
    with pass_lock(spool, other):
        pass


@pytest.mark.parametrize("lock", [pass_lock, hosts_lock])
def test_who_waits_has_the_lock_when_it_is_given_up(spool: str, lock: Lock) -> None:
    with ExitStack() as held:
        held.enter_context(lock(spool, 0.0))
        giver = threading.Timer(SHORT, held.close)
        giver.start()
        with lock(spool, PATIENT):
            pass
        giver.join()


@pytest.mark.parametrize("wait", [0.0, SHORT])
def test_the_lock_ends_with_what_was_done_under_it(spool: str, wait: float) -> None:
    with pytest.raises(ZeroDivisionError), pass_lock(spool, wait):
        raise ZeroDivisionError
    with pass_lock(spool, wait):
        pass


@pytest.mark.parametrize("wait", [0.0, SHORT])
def test_the_file_stays_and_only_its_owner_can_open_it(spool: str, wait: float) -> None:
    """A second holder could slip in where it is made anew; whoever can open it could keep all passes away."""
    before = os.umask(0)
    try:
        with pass_lock(spool, wait):
            number = os.stat(f"{spool}/lock").st_ino
    finally:
        os.umask(before)
    found = os.stat(f"{spool}/lock")
    assert found.st_ino == number and stat.S_IMODE(found.st_mode) == 0o600


@pytest.mark.parametrize("wait", [0.0, SHORT])
def test_a_lock_that_cannot_be_opened_is_a_sentence(spool: str, wait: float) -> None:
    if os.path.exists(f"{spool}/lock"):
        os.unlink(f"{spool}/lock")
    os.mkdir(f"{spool}/lock")
    with pytest.raises(SpoolError, match=r"cannot lock .*; nothing was sent"), pass_lock(spool, wait):
        pytest.fail("a directory was locked")
