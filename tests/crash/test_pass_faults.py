"""A pass on a disk that fails at any call: nothing is lost, nothing bounces for it, and the exit code is 74."""

import pytest

from tests.crash.scene import Scene
from tests.crash.test_enqueue_crash import fault

CALLS = [
    ("open", "ENOSPC"),
    ("write", "ENOSPC"),
    ("pwrite", "ENOSPC"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("rename", "EIO"),
    ("link", "EIO"),
    ("unlink", "EIO"),
]


@pytest.mark.parametrize(("function", "error"), CALLS)
def test_a_pass_whose_system_call_fails_once_loses_nothing(scene: Scene, function: str, error: str) -> None:
    """Laws 2 and 3, C-014: at most the message concerned comes twice; a pass that cannot write a verdict ends with 74."""
    at = 1
    while True:
        scene.fresh()
        done = scene.flush(fault=fault(function, at, error))
        if not done.hindered:
            break
        what = f"{function} {at} {error}: {done.steps[-1]}\n{done.stderr}"
        check_complaint(done.code, done.stderr, what)
        scene.recover(passes=1 + at % 2)
        scene.check(1, what)
        at += 1
    assert done.code == 0
    assert at > 1


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


def check_complaint(code: int, stderr: str, what: str) -> None:
    """One sentence says what is wrong with the disk, and it is no bug of ours."""
    assert code == 74, what
    assert "a bug of" not in stderr, what
    assert "Traceback" not in stderr, what
    assert any(line.startswith("smartrelay: ") for line in stderr.splitlines()), what
