"""A pass on a disk that fails at any call: nothing is lost, nothing bounces for it, and the exit code is 74."""

import pytest

from tests.crash.hindrance import CALLS, check_complaint, fault, hinder_each_call
from tests.crash.scene import Scene


@pytest.mark.parametrize(("function", "error"), CALLS)
def test_a_pass_whose_system_call_fails_once_loses_nothing(scene: Scene, function: str, error: str) -> None:
    """Laws 2 and 3, C-014: at most the message concerned comes twice; a pass that cannot write a verdict ends with 74."""
    hinder_each_call(scene, function, error, lambda at: scene.recover(passes=1 + at % 2))


@pytest.mark.parametrize(
    ("function", "error"), [("pwrite", "ENOSPC"), ("unlink", "EROFS"), ("rename", "EROFS"), ("fsync", "EIO")]
)
def test_a_pass_on_a_disk_that_fails_from_now_on_sends_no_more_than_it_must(scene: Scene, function: str, error: str) -> None:
    """2.4, C-014: once the spool has failed, at most the message in doubt and the one behind it come twice."""
    for at in (1, 2, 3, 5, 8):
        scene.fresh()
        done = scene.flush(fault=fault(function, at, error, for_ever=True))
        what = f"{function} {at} {error}\n{done.stderr}"
        check_complaint(done.code, done.stderr, what)
        scene.recover(passes=1)
        scene.check(1, what)
