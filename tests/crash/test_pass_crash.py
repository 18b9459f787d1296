"""A pass that is killed at any step loses nothing, and doubles no more than the message that was in doubt.

A step is every change in the spool, and every word of the SMTP dialogue. What process death cannot show (the page cache
survives it) is made by hand: torn lines and drafts. What is synced when is in `test_order.py`.
"""

import os
import re

import pytest

from tests.crash.hindrance import PARTS, kill_at_each_step
from tests.crash.scene import Scene, contents


def step_of(scene: Scene, what: str) -> int:
    """The number of the first step of a pass over the fresh scene that has this in it."""
    number = next(int(step.split()[0]) for step in scene.flush().steps if what in step)
    scene.fresh()
    return number


@pytest.mark.parametrize("part", range(PARTS))
def test_a_pass_killed_at_any_step_in_the_spool_is_finished_by_the_next(scene: Scene, part: int) -> None:
    """Laws 1, 3, 10. Every third time the pass that is to finish it is killed too, somewhere else."""
    step = kill_at_each_step(scene, part, lambda step: scene.recover(passes=1 + step % 2))
    assert step > 60, "the pass took fewer steps than its mail can need: the hook does not see them"


@pytest.mark.parametrize("part", range(2))
def test_a_pass_killed_at_any_word_of_the_dialogue_is_finished_by_the_next(scene: Scene, part: int) -> None:
    """Laws 2, 3, 10: killed while the server has the message and the pass does not know, it goes a second time at most."""
    word = part + 1
    while scene.flush(kill_at_word=word).killed:
        scene.recover(passes=1)
        scene.check(1, f"killed at word {word}")
        scene.fresh()
        word += 2
    assert word > 30


@pytest.mark.parametrize("filler", [b"", b"\0"])
def test_a_verdict_that_was_torn_is_asked_for_again_and_reported_once(scene: Scene, filler: bytes) -> None:
    """2.4, law 3: power went while a verdict with its bounce was on its way to the disk. At whatever octet the line ends,
    both count or neither does: no failed recipient goes unreported."""
    number = step_of(scene, "open /tmp/")
    for eighths in range(9):
        scene.fresh()
        done = scene.flush(kill_at=number)
        assert "open /tmp/" in done.steps[-1]
        (path,) = [path for path in journals(scene) if b" 5.1.1 no such user" in read(path)]
        whole = read(path).rstrip(b" ")
        begin = whole.rfind(b"\n", 0, len(whole) - 1) + 1
        cut = begin + (len(whole) - begin - 1) * eighths // 8
        with open(path, "wb") as file:
            file.write(whole[:cut] + filler * (len(whole) - cut))
        scene.recover(passes=1)
        scene.check(1, f"torn at {cut - begin} of {len(whole) - begin}")


def test_a_bounce_whose_origin_does_not_know_of_it_is_made_once(scene: Scene) -> None:
    """Law 3: the pass was killed behind the bounce's link; the bounce is then sent while its origin is held, so that its id
    is free again when the origin is released."""
    done = scene.flush(kill_at=step_of(scene, "os.link") + 1)
    linked = next(step for step in done.steps if "os.link" in step)
    notice = linked.split()[-1].removeprefix("/new/")
    with open(f"{scene.spool}/new/{notice}", encoding="ascii") as file:
        found = re.search(r'"notice_of":\["(\w+)"', file.readline())
    assert found
    scene.queue("hold", found[1])
    assert scene.flush().code == 0
    assert sum(scene.arrivals().notices.values()) > 0
    scene.queue("release", found[1])
    scene.recover()
    scene.check(0, f"killed at {done.steps[-1]}, when nothing was in doubt")


def test_a_deferral_that_was_torn_or_lost_costs_an_early_retry_and_nothing_else(scene: Scene) -> None:
    """2.4: deferrals are not synced; with a journal cut anywhere, or gone, its mail is tried again."""
    assert scene.flush().code == 0
    saved = {path: read(path).rstrip(b" ") for path in journals(scene)}
    unsynced = [path for path, text in saved.items() if b"550 5." not in text and b"250 2.0.0" not in text]
    assert unsynced
    for path in unsynced:
        with open(path, "wb") as file:
            file.write(saved[path][: len(saved[path]) // 2])
    scene.recover()
    scene.check(0, "torn deferrals")


def test_a_draft_of_any_length_is_no_mail_and_is_swept_in_time(scene: Scene) -> None:
    """2.4, C-001: a submission that power cut short was acknowledged to nobody; it stays 36 h for a living writer."""
    (path, *_) = (os.path.join(scene.spool, "new", name) for name in sorted(os.listdir(f"{scene.spool}/new")))
    whole = read(path)
    drafts = []
    for number, cut in enumerate((0, 1, 20, len(whole) // 2, len(whole) - 1, len(whole))):
        drafts.append(f"{scene.spool}/tmp/{os.path.basename(path)[:-1]}{number}")
        with open(drafts[-1], "wb") as file:
            file.write(whole[:cut])
    os.utime(drafts[0], (1, 1))
    scene.recover()
    assert sorted(contents(scene.spool)["tmp"]) == sorted(map(os.path.basename, drafts[1:]))
    scene.check(0, "drafts")
    assert scene.flush().code == 0
    assert not scene.arrivals().transactions[("delivered", ("ok1@a.example",))] > 1


def test_drafts_of_a_crash_are_swept_by_a_pass_after_36_hours(scene: Scene) -> None:
    """2.4: no litter stays, and what is swept is no mail that anybody waits for."""
    scene.flush(kill_at=step_of(scene, "os.link"))
    assert contents(scene.spool)["tmp"]
    scene.recover()
    scene.check(1, "killed before the link")
    new_mail = scene.sendmail(["-f", "author@example.org", "ok1@a.example"], b"Subject: x\n\n")
    assert new_mail.code == 0
    assert scene.flush().code == 0
    assert not contents(scene.spool)


def journals(scene: Scene) -> list[str]:
    """The journals in the spool."""
    return [f"{scene.spool}/state/{name}" for name in sorted(os.listdir(f"{scene.spool}/state"))]


def read(path: str) -> bytes:
    """A file's octets."""
    with open(path, "rb") as file:
        return file.read()
