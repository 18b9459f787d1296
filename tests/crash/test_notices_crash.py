"""Notices of every kind, by a pass that is killed or hindered at any step: each that was called for goes to whom it is for,
as one notice, whatever was cut short; and nothing leaves the queue of which somebody must be told and was not.

What a crash may double is a notice that was itself on its way to the server (law 10), with the same Message-ID.
"""

import os
import re

import pytest

from tests.crash.hindrance import CALLS, PARTS, hinder_each_call, kill_at_each_step
from tests.crash.scene import Scene


@pytest.fixture
def scene(telling: Scene) -> Scene:
    """Mail that leads to notices of every kind."""
    return telling


@pytest.mark.parametrize("part", range(PARTS))
def test_a_pass_killed_at_any_step_owes_each_notice_once(scene: Scene, part: int) -> None:
    """Laws 3 and 10, C-021, C-022, C-040. Every third time the next pass is killed too, somewhere else."""
    step = kill_at_each_step(scene, part, lambda step: scene.recover("--all"))
    assert step > 80, "the pass took fewer steps than its notices need: the hook does not see them"


@pytest.mark.parametrize(("function", "error"), CALLS)
def test_a_notice_that_cannot_be_written_keeps_its_message(scene: Scene, function: str, error: str) -> None:
    """Laws 2 and 3, C-014, C-040: whatever call fails, a later pass owes and publishes the same notices, each once."""
    hinder_each_call(scene, function, error, lambda at: scene.recover("--all"))


def origin_of(scene: Scene, notice: str) -> str:
    """The message that a notice in new/ is about."""
    with open(f"{scene.spool}/new/{notice}", encoding="ascii") as file:
        found = re.search(r'"notice_of":\["(\w+)"', file.readline())
    assert found
    return found[1]


@pytest.mark.parametrize("first", ["told by its id", "while its origin is held"])
def test_a_notice_that_goes_before_its_origin_knows_of_it_is_made_once(scene: Scene, first: str) -> None:
    """Law 3: killed between a notice's link and the line "bounced"; the next pass relays the notice, so that its id is free
    again, and only then is its origin's turn. No crash put anything in doubt: nothing comes twice."""
    links = [int(step.split()[0]) for step in scene.flush().steps if "os.link" in step]
    assert len(links) == 6
    for link in links:
        scene.fresh()
        done = scene.flush(kill_at=link + 1)
        notice = next(step for step in reversed(done.steps) if "os.link" in step).split()[-1].removeprefix("/new/")
        origin = origin_of(scene, notice)
        if first == "while its origin is held":
            scene.queue("hold", origin)
        done = scene.flush(*([notice] if first == "told by its id" else []))
        assert done.code == 0, done.stderr
        there = [name[:17] for state in ("new", "cur", "hold") for name in os.listdir(f"{scene.spool}/{state}")]
        assert origin in there and notice not in there
        if first == "while its origin is held":
            scene.queue("release", origin)
        scene.recover("--all")
        scene.check(0, f"killed behind the link of {notice}, which is about {origin}")
