"""A pass that is killed at each of its steps, or hindered at each of its calls, and the laws after every one of them."""

from collections.abc import Callable
from typing import Any

from tests.crash.scene import Scene

PARTS = 4
"""The steps are dealt out to so many tests, which run side by side."""

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

Recover = Callable[[int], None]
"""Makes the passes that finish what was cut short at this step or call."""


def kill_at_each_step(scene: Scene, part: int, recover: Recover) -> int:
    """Kills a pass over the fresh scene at each step of one part, and checks the laws after each; returns the step that it did
    not come to. Every third time the pass that is to finish it is killed too, somewhere else."""
    step = part + 1
    while True:
        scene.fresh()
        first = scene.flush(kill_at=step)
        if not first.killed:
            break
        doubts, what = 1, f"killed at {first.steps[-1]}"
        if step % 3 == 0:
            second = scene.flush(kill_at=step * 37 % 61 + 1)
            doubts += second.killed
            what += f", then at {second.steps[-1]}"
        recover(step)
        scene.check(doubts, what)
        step += PARTS
    assert first.code == 0
    return step


def hinder_each_call(scene: Scene, function: str, error: str, recover: Recover) -> None:
    """Has each call of a function fail, one in each pass over the fresh scene: it is told of, and the laws hold."""
    at = 1
    while True:
        scene.fresh()
        done = scene.flush(fault=fault(function, at, error))
        if not done.hindered:
            break
        what = f"{function} {at} {error}: {done.steps[-1]}\n{done.stderr}"
        check_complaint(done.code, done.stderr, what)
        recover(at)
        scene.check(1, what)
        at += 1
    assert done.code == 0
    assert at > 1


def fault(function: str, at: int, error: str, *, for_ever: bool = False) -> dict[str, Any]:
    """What `tests.crash.child` is told."""
    return {"function": function, "at": at, "error": error, "for_ever": for_ever}


def check_complaint(code: int, stderr: str, what: str) -> None:
    """One sentence says what is wrong with the disk, and it is no bug of ours."""
    assert code == 74, what
    assert "a bug of" not in stderr, what
    assert "Traceback" not in stderr, what
    assert any(line.startswith("smartrelay: ") for line in stderr.splitlines()), what
