"""Giving up that is killed or hindered at any step: the mail goes to its recipient or back to its sender, never neither, never
both; whoever comes next, a pass or the operator again, finishes it."""

import os
import shutil

import pytest

from tests.crash.hindrance import CALLS, check_complaint, fault
from tests.crash.plots import AUTHOR
from tests.crash.scene import Scene

EXPIRE = ["expire", "--yes"]
BOUNCE = ["delete", "--bounce", "--yes"]


class Queued:
    """A spool with one message, for two of whom one has it already unless it is new, and what is done to it."""

    def __init__(self, scene: Scene, folder: str, state: str, sender: str = AUTHOR) -> None:
        self.scene, self._saved = scene, folder
        shutil.rmtree(scene.spool)
        done = scene.sendmail(["-f", sender, "ok1@a.example", "later1@a.example"], b"Subject: given-up\n\nx\n")
        assert done.code == 0, done.stderr
        (self.id,) = os.listdir(f"{scene.spool}/new")
        if state != "new":
            assert scene.flush().code == 0
        if state == "held":
            scene.queue("hold", self.id)
        self.waiting = {"later1@a.example"} if state != "new" else {"ok1@a.example", "later1@a.example"}
        shutil.copytree(scene.spool, folder)
        self.fresh()

    def fresh(self) -> None:
        self.scene.fresh(self._saved)

    def check(self, what: str, *, decided: bool) -> None:
        """Passes to a server that has recovered, once nothing is held; then each recipient's mail has ended in one way.

        decided: the verdict must be that it was given up.
        """
        self.scene.queue("release", "--all")
        self.scene.recover(passes=1)
        found = self.scene.arrivals()
        delivered = [recipient for (_, recipient), count in found.messages.items() for _ in range(count)]
        told = [address for notice in found.reported.values() for _, _, address in notice]
        assert sorted(delivered + told) == sorted(self.waiting), what
        assert all(count == 1 for count in found.notices.values()) and len(found.notices) <= 1, what
        assert not decided or not delivered, what
        self.scene.check_litter(what)


WAYS = pytest.mark.parametrize(
    ("verb", "state", "sender"),
    [(EXPIRE, "new", AUTHOR), (EXPIRE, "held", AUTHOR), (BOUNCE, "waiting", AUTHOR), (BOUNCE, "held", "<>")],
    ids=["expire new", "expire held", "delete waiting", "delete a held bounce"],
)
"""The last is told to the postmaster."""


@WAYS
def test_killed_at_any_step_it_is_finished_or_had_not_begun(
    telling: Scene, tmp_path: os.PathLike[str], verb: list[str], state: str, sender: str
) -> None:
    """Law 3, C-021, C-040. Every third time the operator says it again, and that is killed too, somewhere else."""
    scene = telling
    queued = Queued(scene, os.path.join(tmp_path, "saved"), state, sender)
    step = 1
    while True:
        queued.fresh()
        done = scene.operate(*verb, queued.id, kill_at=step)
        if not done.killed:
            break
        what = f"killed at {done.steps[-1]}"
        durable = any("open /tmp/" in each for each in done.steps)  # the notice comes behind the verdict
        if step % 3 == 0:
            again = scene.operate(*verb, queued.id, kill_at=step * 7 % 11 + 1)
            what += f", then {again.code} at {again.steps[-1] if again.steps else 'nothing'}"
            durable = durable or again.code == 0
        if step % 2:  # the notice goes before its origin's turn has come
            for notice in set(os.listdir(f"{scene.spool}/new")) - {queued.id}:
                assert scene.flush(notice).code == 0
        queued.check(what, decided=durable)
        step += 1
    assert step > 10, "it took fewer steps than its duty needs: the hook does not see them"
    assert done.code == 0, done.stderr
    queued.check("not killed", decided=True)


@WAYS
@pytest.mark.parametrize(("function", "error"), CALLS)
def test_on_a_disk_that_fails_it_ends_with_74_and_loses_nothing(
    telling: Scene, tmp_path: os.PathLike[str], function: str, error: str, verb: list[str], state: str, sender: str
) -> None:
    """Laws 2 and 3, C-014: a bounce that cannot be written keeps its message."""
    scene = telling
    queued = Queued(scene, os.path.join(tmp_path, "saved"), state, sender)
    at = 1
    while True:
        queued.fresh()
        done = scene.operate(*verb, queued.id, fault=fault(function, at, error))
        if not done.hindered:
            break
        what = f"{function} {at} {error}: {done.steps[-1]}\n{done.stderr}"
        check_complaint(done.code, done.stderr, what)
        decided = at % 2 == 0
        if decided and scene.operate("show", queued.id).code == 0:
            scene.queue(*verb, queued.id)
        queued.check(what, decided=decided)
        at += 1
    assert done.code == 0, done.stderr
    assert at > 1 or (function, state) == ("rename", "new")  # that one stays where it is
