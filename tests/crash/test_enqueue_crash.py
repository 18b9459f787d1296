"""An enqueue that is killed or hindered at any step: the caller is told yes only for a message that is on disk, whole."""

import os
import shutil

import pytest

from smartrelay.mail import stored
from tests.crash.hindrance import fault
from tests.crash.scene import Outcome, Scene, contents

LARGE = b"Subject: large\n\n" + b"0123456789abcdef\n" * 9000
SMALL = b"Subject: small\n\nbody\n"
TEXTS = pytest.mark.parametrize("text", [SMALL, LARGE], ids=["small", "large"])
SPOOLS = pytest.mark.parametrize("spool", ["missing", "empty", "standing"])
WHO = ["-f", "author@example.org", "ok1@a.example"]
SENTENCE = "smartrelay-sendmail: "


def begin(scene: Scene, spool: str) -> None:
    """The spool as it is before: not there, a directory with nothing in it, or one that was used before."""
    shutil.rmtree(scene.spool, ignore_errors=True)
    if spool == "empty":
        os.mkdir(scene.spool, 0o700)
    elif spool == "standing":
        scene.fresh()
        for name in os.listdir(f"{scene.spool}/new"):
            os.unlink(f"{scene.spool}/new/{name}")


def queued(scene: Scene, text: bytes) -> int:
    """How many messages are in new/; each is whole, with the text to its last octet."""
    found = contents(scene.spool).get("new", []) if os.path.isdir(scene.spool) else []
    for name in found:
        with open(f"{scene.spool}/new/{name}", "rb") as file:
            line, body = file.readline(), file.read()
        assert stored.read(line).facts.stored == len(body)
        assert body.endswith(text.partition(b"\n\n")[2])
    return len(found)


@SPOOLS
@TEXTS
def test_an_enqueue_killed_at_any_step_has_queued_all_or_nothing(scene: Scene, spool: str, text: bytes) -> None:
    """C-001: killed, the caller saw no success; the message is in new/ whole or not at all, and the spool still works."""
    step, most = 1, 0
    while True:
        begin(scene, spool)
        done = scene.sendmail(WHO, text, kill_at=step)
        if not done.killed:
            break
        before = queued(scene, text)
        most = max(most, before)
        again = scene.sendmail(WHO, text)
        assert again.code == 0, (done.steps[-1], again.stderr)
        assert queued(scene, text) == before + 1, done.steps[-1]
        passed = scene.flush()
        assert passed.code == 0, passed.stderr
        assert set(contents(scene.spool)) <= {"tmp"}, done.steps[-1]
        step += 1
    assert done.code == 0
    assert queued(scene, text) == 1
    assert most == 1, "it was never killed between the rename and the end"
    assert step >= 4


FAULTS = [("open", "EIO"), ("open", "ENOSPC"), ("open", "EROFS"), ("write", "EIO"), ("write", "ENOSPC"), ("pwrite", "EIO")]
FAULTS += [("fsync", "EIO"), ("rename", "EIO"), ("rename", "ENOSPC"), ("mkdir", "EACCES"), ("mkdir", "ENOSPC")]


@SPOOLS
@pytest.mark.parametrize(("function", "error"), FAULTS)
def test_an_enqueue_whose_system_call_fails_has_queued_nothing_and_says_so(
    scene: Scene, spool: str, function: str, error: str
) -> None:
    """C-001, C-014: whichever call it is, the exit code is not 0, there is one sentence, and nothing is left."""
    at = 1
    while True:
        begin(scene, spool)
        done = scene.sendmail(WHO, LARGE, fault=fault(function, at, error))
        if not done.hindered:
            break
        check_refused(scene, done, f"{function} {at} {error}")
        begin(scene, spool)
        again = scene.sendmail(WHO, LARGE)
        assert again.code == 0
        at += 1
    assert done.code == 0
    assert at > 1 or (function == "mkdir" and spool == "standing") or function == "open", "the call was never made"


def check_refused(scene: Scene, done: Outcome, what: str) -> None:
    """A refusal as it has to be."""
    assert done.code in (73, 74, 75), (what, done)
    assert done.stderr.startswith(SENTENCE), (what, done.stderr)
    assert done.stderr.count("\n") == 1, (what, done.stderr)
    assert "a bug of" not in done.stderr, (what, done.stderr)
    left = contents(scene.spool) if os.path.isdir(scene.spool) else {}
    assert not left, (what, left)
