"""The status file: whole at any time, readable for all, and believed in nothing."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.spool import status_file
from smartrelay.spool.census import Census, Group
from smartrelay.spool.status_file import LONGEST, NAMED, Incidents, Noted, Status
from smartrelay.spool.totals import DONE, RESULTS, Totals, Work
from tests.support.queues import few

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

counts = st.integers(0, 10**14)
times = st.integers(0, 10**14).map(lambda thousandths: thousandths / 1000)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=255)
results = st.sampled_from(sorted(RESULTS))
groups = st.builds(Group, counts, st.none() | times)
noted = st.builds(Noted, counts, st.none() | times, st.lists(names, max_size=NAMED).map(tuple))
works = st.just(Work()) | st.builds(Work, times, times, results, *[counts] * 9)
some_totals = st.builds(Totals, counts, counts, counts, counts, times, counts, times, works)
statuses = st.builds(
    Status, names, times, times, results, some_totals, st.builds(Census, *[groups] * 5), st.builds(Incidents, *[noted] * 3),
    st.none() | counts, st.booleans(), st.none() | counts, counts,
)  # fmt: skip


@given(statuses)
@few
def test_what_is_told_is_understood(status: Status) -> None:
    content = status_file.text(status)
    assert content.isascii() and content.endswith(b"}\n") and content.count(b"\n") == 1
    assert status_file.parse(content) == status


def test_the_longest_that_can_be_told_can_be_read(tmp_path: Path) -> None:
    relays = Noted(1000, 1e9, ("\N{GRINNING FACE}" * 255,) * NAMED)  # (two escapes each)
    status = some(incidents=Incidents(account=relays))
    assert len(status_file.text(status)) <= LONGEST
    assert status_file.replace(f"{tmp_path}/status.json", lambda: status_file.text(status))
    assert status_file.read(f"{tmp_path}/status.json") == status


def some(**more: Any) -> Status:
    """An ordinary status."""
    totals = Totals(delivered=7, success=1e9, work=Work(1e9, 1e9 + 2, DONE, delivered=7))
    return Status("0.1", 1e9 + 60, 1e9 + 59, "idle", totals, Census(), Incidents(), 1, False, 10**9, 10**8)._replace(**more)


GOOD = status_file.text(some())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff",
        b"[" * 60_000,
        b"{}",
        b"[]",
        b"null",
        GOOD[:-10],
        GOOD + GOOD,
        GOOD.replace(b'"format": 1', b'"format": 2'),
        GOOD.replace(b'"delivered": 7', b'"delivered": -7'),
        GOOD.replace(b'"delivered": 7', b'"delivered": 7.5'),
        GOOD.replace(b'"delivered": 7', b'"delivered": true'),
        GOOD.replace(b'"delivered": 7', b'"delivered": "7"'),
        GOOD.replace(b'"delivered": 7', b'"delivered": ' + b"9" * 5000),
        GOOD.replace(b'"time": 1000000060.0', b'"time": NaN'),
        GOOD.replace(b'"time": 1000000060.0', b'"time": 1e400'),
        GOOD.replace(b'"result": "idle"', b'"result": "splendid"'),
        GOOD.replace(b'"version": "0.1"', b'"version": "\\u001b[2J"'),
        GOOD.replace(b'"version": "0.1"', b'"version": "' + b"x" * 300 + b'"'),
        GOOD.replace(b'"offline": false', b'"offline": 0'),
        GOOD.replace(b'"relays": []', b'"relays": {}'),
        GOOD.replace(b'"relays": []', b'"relays": [' + b'"x", ' * NAMED + b'"x"]'),
        GOOD.replace(b'"held": {', b'"hold": {'),
        GOOD.replace(b'"work": {', b'"work": 0, "x": {'),
    ],
)
def test_nonsense_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    assert content != GOOD
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^it[s ]") as refused:
        status_file.read(str(path))
    assert str(refused.value).isprintable() and len(str(refused.value)) < 100


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink("x", path)]
)
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, make: Callable[[str], None]) -> None:
    make(f"{tmp_path}/status.json")
    with pytest.raises((ValueError, OSError)):
        status_file.read(f"{tmp_path}/status.json")


def test_a_long_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with open(tmp_path / "status.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="too long"):
        status_file.read(f"{tmp_path}/status.json")


@pytest.fixture
def closed() -> Iterator[None]:
    """The umask that passes have."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path, closed: None) -> None:
    path = f"{tmp_path}/run/status.json"
    for content in (b"one", b"2"):
        assert status_file.replace(path, lambda content=content: content)  # type: ignore[misc]
        assert Path(path).read_bytes() == content
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(f"{tmp_path}/run").st_mode) == 0o755
    assert os.listdir(f"{tmp_path}/run") == ["status.json"]


def test_only_its_own_directory_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        status_file.replace(f"{tmp_path}/a/b/status.json", lambda: b"")
    assert os.listdir(tmp_path) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where it is told goes by the directory's owner; a link in the draft's place leads nowhere."""
    os.symlink("elsewhere", tmp_path / "status.json.new")
    with pytest.raises(OSError, match="symbolic links"):
        status_file.replace(f"{tmp_path}/status.json", lambda: b"x")
    assert not os.path.exists(tmp_path / "elsewhere")


def test_what_cannot_be_composed_leaves_the_old_file(tmp_path: Path) -> None:
    path = f"{tmp_path}/status.json"
    status_file.replace(path, lambda: b"old")

    def fails() -> bytes:
        raise OSError(5, "no spool")

    with pytest.raises(OSError, match="no spool"):
        status_file.replace(path, fails)
    assert Path(path).read_bytes() == b"old" and os.listdir(tmp_path) == ["status.json"]


REPLACES = """
import os, signal, sys
from smartrelay.spool import status_file
path, kill_at = sys.argv[1], int(sys.argv[2])
steps = 0
def hook(event, arguments):
    global steps
    if event != "open" and not event.startswith("os."):
        return
    steps += 1
    if steps == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
def content():
    print("composed", flush=True)
    if kill_at < 0:
        sys.stdin.read()
    return b"new" * 5000
os.listdir("/")
sys.addaudithook(hook)
print(status_file.replace(path, content))
"""


def replacer(path: str, kill_at: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", REPLACES, path, str(kill_at)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_killed_at_any_step_it_is_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """And the next pass replaces it, whatever is left lying there."""
    path = f"{tmp_path}/status.json"
    found = []
    for kill_at in range(1, 20):
        status_file.replace(path, lambda: b"old")
        with replacer(path, kill_at) as process:
            process.communicate()
        found.append(Path(path).read_bytes())
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            break
    assert len(found) > 4 and set(found[:-1]) == {b"old"} and found[-1] == b"new" * 5000
    assert status_file.replace(path, lambda: b"next") and Path(path).read_bytes() == b"next"
    assert os.listdir(tmp_path) == ["status.json"]


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    """Who comes second lets the other one tell."""
    path = f"{tmp_path}/status.json"
    with replacer(path, -1) as process:
        assert process.stdout and process.stdout.readline() == b"composed\n"
        assert not status_file.replace(path, lambda: pytest.fail("composed"))
        assert not os.path.exists(path)
        output, _ = process.communicate(b"")
    assert output == b"True\n" and Path(path).read_bytes() == b"new" * 5000
    assert status_file.replace(path, lambda: b"next")
