"""The file of bad hosts: whatever is in its place, a pass goes on, and what is not ours is kept for a person to look at."""

import json
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.routing.bad_hosts import BadHosts
from tests.support.bad_hosts import Lock, Spool
from tests.support.clock import START, FakeClock
from tests.support.queues import many

MX = "mx.example.org:25"
ROW = {"reason": "x", "since": START, "failed": START, "failures": 1, "probe": START + 60, "until": START + 3600}


@pytest.fixture
def spool(tmp_path: Path, clock: FakeClock) -> Spool:
    return Spool(tmp_path, clock)


def document(**changed: object) -> str:
    """A file with one host, some of whose members are changed; ... takes one out."""
    row = {name: value for name, value in {**ROW, **changed}.items() if value is not ...}
    return json.dumps({"v": 1, "hosts": {MX: row}})


def test_what_is_ours_is_read(spool: Spool) -> None:
    for content in (document(), document(since=1), document(more="of a later version"), json.dumps(json.loads(document()))):
        Path(spool.path).write_text(content)
        assert list(spool.kept()) == [MX]


def test_the_file_is_ascii_with_a_version_and_a_host_a_line(spool: Spool) -> None:
    memory = spool.memory()
    memory.mark_bad("/run/b\u00fcro/lmtp", "no such file")
    memory.mark_bad(MX, "connection refused")
    memory.save()
    content = Path(spool.path).read_bytes()
    assert content.isascii() and content.count(b"\n") == 4
    assert json.loads(content)["v"] == 1
    assert json.loads(content)["hosts"][MX] == {**ROW, "reason": "connection refused"}
    assert list(spool.kept()) == ["/run/b\u00fcro/lmtp", MX]


def test_an_empty_file_is_an_empty_memory(spool: Spool) -> None:
    """It is what a power cut may leave, and nothing to bother anybody with."""
    Path(spool.path).touch()
    memory = spool.memory()
    assert memory.entries() == []
    memory.mark_bad(MX, "x")
    assert list(spool.kept()) == [MX] and os.listdir(spool.folder) == ["hosts.json"]


CONTENTS = {
    "garbage": b"\0\xff\x80garbage",
    "cut off": document().encode()[:-9],
    "blanks": b" \n",
    "not ascii": document(reason="\u00e4").replace("\\u00e4", "\u00e4").encode(),
    "utf-16": document().encode("utf-16"),
    "a list": b"[]",
    "a number": b"1",
    "nothing in it": b"{}",
    "no version": json.dumps({"hosts": {}}).encode(),
    "an older version": json.dumps({"v": 0, "hosts": {}}).encode(),
    "a later version": json.dumps({"v": 2, "hosts": {}}).encode(),
    "a list of hosts": json.dumps({"v": 1, "hosts": [MX]}).encode(),
    "a host that is a list": json.dumps({"v": 1, "hosts": {MX: []}}).encode(),
    "a host that is null": json.dumps({"v": 1, "hosts": {MX: None}}).encode(),
    "a key with a line feed": json.dumps({"v": 1, "hosts": {"a\nb:25": ROW}}).encode(),
    "a key with half a character": json.dumps({"v": 1, "hosts": {"\ud800:25": ROW}}).encode(),
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "a long number": document().replace('"failures": 1', f'"failures": {"9" * 10_000}').encode(),
    "too long": document().encode() + b" " * (4 << 20),
    **{f"no {name}": document(**{name: ...}).encode() for name in ROW},
    **{f"{name} is text": document(**{name: "1"}).encode() for name in ROW if name != "reason"},
    **{f"{name} is not a number": document(**{name: float("nan")}).encode() for name in ROW},
    **{f"{name} is infinite": document(**{name: float("inf")}).encode() for name in ROW},
    "no failure": document(failures=0).encode(),
    "half a failure": document(failures=1.5).encode(),
    "a reason that is none": document(reason=1).encode(),
    "before 1970": document(since=-1).encode(),
    "failed before it first failed": document(failed=START - 1).encode(),
    "good before the probe": document(until=START + 1).encode(),
}


def file(content: bytes) -> Callable[[str], object]:
    return lambda path: Path(path).write_bytes(content)


PLACES: dict[str, Callable[[str], object]] = {
    **{name: file(content) for name, content in CONTENTS.items()},
    "a directory": os.mkdir,
    "a fifo": os.mkfifo,
    "a link to nothing": lambda path: os.symlink("nowhere", path),
    "a link to itself": lambda path: os.symlink("hosts.json", path),
    "a link to a device": lambda path: os.symlink("/dev/zero", path),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_not_ours_is_set_aside_with_a_warning(spool: Spool, name: str) -> None:  # C-010
    PLACES[name](spool.path)
    before = os.lstat(spool.path)
    memory = spool.memory()
    assert memory.entries() == [] and memory.claim_probe(MX) and not memory.mark_good(MX)
    (warning,) = spool.warnings
    assert warning.startswith(f"{spool.path} ") and f"set aside as {spool.path}.bad" in warning and warning.isprintable()
    after = os.lstat(f"{spool.path}.bad")
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert not os.path.lexists(spool.path), "who has learnt nothing writes nothing"
    memory.mark_bad(MX, "x")
    assert memory.save()
    spool.warnings.clear()
    assert list(spool.kept()) == [MX]


def test_a_link_is_not_followed(spool: Spool) -> None:
    target = Path(spool.folder, "target")
    target.write_text(document())
    os.symlink("target", spool.path)
    memory = spool.memory()
    assert memory.entries() == [] and len(spool.warnings) == 1
    memory.mark_bad("other:25", "x")
    assert memory.save()
    assert target.read_text() == document()
    assert stat.S_ISREG(os.lstat(spool.path).st_mode)


def test_garbage_that_comes_while_a_pass_runs_is_set_aside_too_over_the_older_and_said_once(spool: Spool) -> None:
    memory = spool.memory()
    for number in range(3):
        memory.mark_bad(MX, "x")
        assert memory.save()
        Path(spool.path).write_text(f"garbage {number}")
        assert not memory.is_bad(MX)
        assert memory.save()
        assert Path(f"{spool.path}.bad").read_text() == f"garbage {number}"
    assert len(spool.warnings) == 1


def test_of_two_processes_that_find_garbage_the_second_does_not_set_aside_what_the_first_has_written(spool: Spool) -> None:
    Path(spool.path).write_text("garbage")
    second: list[BadHosts] = []

    class Late(Lock):
        """The first process comes in between, when the second has seen the garbage and is about to set it aside."""

        def __call__(self) -> Any:
            if not second:
                second.append(spool.memory())
                second[0].mark_bad(MX, "x")
                assert second[0].save()
            return super().__call__()

    late = BadHosts(spool.path, Late(), clock=spool.clock, warn=pytest.fail)
    late.is_bad(MX)
    assert late.is_bad(MX) and late.save()
    assert Path(f"{spool.path}.bad").read_text() == "garbage"
    assert len(spool.warnings) == 1


def test_a_moment_without_descriptors_does_not_cost_the_memory(spool: Spool) -> None:
    Path(spool.path).write_text(document())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    class Recovers(Lock):
        def __call__(self) -> Any:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return super().__call__()

    memory = BadHosts(spool.path, Recovers(), clock=spool.clock, warn=pytest.fail)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert not memory.is_bad(MX), "it cannot be read"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert memory.is_bad(MX) and os.listdir(spool.folder) == ["hosts.json"]


def test_what_can_neither_be_used_nor_set_aside_costs_a_warning(spool: Spool, clock: FakeClock) -> None:
    os.makedirs(f"{spool.path}/in-the-way")
    os.makedirs(f"{spool.path}.bad/in-the-way")
    memory = spool.memory()
    for _ in range(3):
        memory.mark_bad(MX, "x")
        assert memory.is_bad(MX) and not memory.save()
        clock.advance(60)
    (warning,) = spool.warnings
    assert warning.startswith(f"cannot write {spool.path}: ") and warning.isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from([START, 1, ROW]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*ROW, "v", "hosts", MX]), inner, max_size=6),
    max_leaves=10,
)
ROWS = st.fixed_dictionaries({name: VALUES | st.just(value) for name, value in ROW.items()})
DOCUMENTS = (
    st.binary(max_size=50)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.text(max_size=10), ROWS | VALUES, max_size=3).map(
        lambda hosts: json.dumps({"v": 1, "hosts": hosts}).encode()
    )
)


@given(content=DOCUMENTS)
@example(content=json.dumps({"v": 1, "hosts": {"A:25": ROW}}).encode())  # no key of ours, and none that could be asked for
@many
def test_no_content_whatever_stops_a_pass(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    spool = Spool(tmp_path_factory.getbasetemp(), FakeClock())
    Path(spool.path).write_bytes(content)
    memory = spool.memory()
    for host in memory.entries():
        assert host.reason.isprintable() and host.reason.isascii() and len(host.reason) <= 500
        assert memory.is_bad(host.key) and not (memory.claim_probe(host.key) and memory.claim_probe(host.key))
    memory.mark_bad(MX, "x")
    assert memory.is_bad(MX) and memory.save() and len(spool.warnings) <= 1
    assert memory.reset() and memory.save() and spool.memory().entries() == []
