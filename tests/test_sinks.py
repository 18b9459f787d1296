"""Where the log goes: standard error, the journal, syslog, a file; with the name, the priority and the time that each wants."""

import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from smartrelay import sinks
from smartrelay.sinks import ERROR, INFO, WARNING, PickupLine, obstacle, open_sink
from smartrelay.values import log

NOW = 1_799_278_305.9  # 2027-01-06 23:31:45 UTC
PID = os.getpid()


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def clock() -> float:
    return NOW


def test_a_file_is_written_as_syslog_writes_it_and_its_group_may_read_it(tmp_path: Path) -> None:
    """One line each: time, host, name and number, text; 0640 under any umask."""
    path = tmp_path / "mail.log"
    before = os.umask(0o077)
    try:
        write = open_sink("relay", f"file:{path}", clock=clock)
        assert not path.exists(), "root has not become the spool's owner yet"
        write(INFO, PickupLine("A: uid=0 from=<x@y>"), "A: message-id=<m>")
        write(ERROR, "three")
    finally:
        os.umask(before)
    host = os.uname().nodename.partition(".")[0]
    assert path.read_text().splitlines() == [
        f"Jan  6 23:31:45 {host} smartrelay/pickup[{PID}]: A: uid=0 from=<x@y>",
        f"Jan  6 23:31:45 {host} smartrelay/relay[{PID}]: A: message-id=<m>",
        f"Jan  6 23:31:45 {host} smartrelay/relay[{PID}]: three",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_is_there_is_added_to_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text("before\n")
    path.chmod(0o600)
    open_sink("relay", f"file:{path}", clock=clock)(INFO, "behind")
    assert path.read_text().startswith("before\n") and "behind" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_logrotate_has_moved_is_made_anew(tmp_path: Path) -> None:
    """Both ways of it: another file under the name, or none."""
    path, rotated = tmp_path / "mail.log", tmp_path / "mail.log.1"
    write = open_sink("relay", f"file:{path}", clock=clock)
    write(INFO, "one")
    path.rename(rotated)
    write(INFO, "two")
    path.rename(tmp_path / "mail.log.2")
    path.touch()
    write(INFO, "three")
    path.write_text("")  # copytruncate
    write(INFO, "four")
    assert "one" in rotated.read_text() and "two" not in rotated.read_text()
    assert "two" in (tmp_path / "mail.log.2").read_text()
    assert path.read_text().endswith(": four\n") and "\0" not in path.read_text()


def test_a_file_whose_folder_goes_away_is_written_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    write = open_sink("relay", f"file:{folder}/mail.log", clock=clock)
    write(INFO, "one")
    with open(folder / "mail.log", encoding="utf-8") as file:
        os.unlink(folder / "mail.log")
        folder.rmdir()
        write(INFO, "two")
        assert "two" in file.read()


def test_where_a_file_cannot_be_opened_the_log_goes_where_it_went(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write = open_sink("relay", f"file:{tmp_path}/none/mail.log", device=f"{tmp_path}/no-syslog")
    write(INFO, "one")
    write(INFO, "two")
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("]: ")[2] for line in lines[1:]] == ["one", "two"]
    assert f"cannot open the log {tmp_path}/none/mail.log" in lines[0] and len(lines) == 3


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_syslog_gets_each_line_with_facility_priority_and_name(tmp_path: Path, kind: socket.SocketKind) -> None:
    device = f"{tmp_path}/log"
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(device)
        if kind == socket.SOCK_STREAM:
            server.listen()
        write = open_sink("relay", "auto", clock=clock, device=device)
        write(WARNING, "one", PickupLine("A: uid=0 from=<>"))
        reader = server.accept()[0] if kind == socket.SOCK_STREAM else server
        with reader:
            data = b""
            while data.count(b": ") < 3:
                data += reader.recv(1 << 16) + b"|" * (kind == socket.SOCK_DGRAM)
    texts = [text for text in re.split("[|\0]", data.decode()) if text]
    assert texts == [
        f"<20>Jan  6 23:31:45 smartrelay/relay[{PID}]: one",
        f"<20>Jan  6 23:31:45 smartrelay/pickup[{PID}]: A: uid=0 from=<>",
    ]


def test_a_syslog_that_was_started_anew_goes_on_getting_lines(tmp_path: Path) -> None:
    device = f"{tmp_path}/log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(device)
        write = open_sink("relay", "syslog", device=device)
        write(INFO, "one")
    write(INFO, "lost")
    os.unlink(device)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(device)
        write(INFO, "two")
        assert server.recv(1000).endswith(b": two")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_syslog_that_does_not_read_stops_nobody(tmp_path: Path, kind: socket.SocketKind) -> None:
    """It is waited for once; when it reads again it gets lines again, whole ones."""
    device = f"{tmp_path}/log"
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(device)
        if kind == socket.SOCK_STREAM:
            server.listen()
        write = open_sink("relay", "syslog", device=device)
        began = time.monotonic()
        for _ in range(2000):
            write(INFO, "x" * 500)
        assert time.monotonic() - began < 10
        read_now(server, kind)
        write(INFO, "after")
        assert b": after" in read_now(server, kind)


def read_now(server: socket.socket, kind: socket.SocketKind) -> bytes:
    """All that has come to a daemon, on whatever connection."""
    data = b""
    server.setblocking(False)
    with ExitStack() as stack, suppress(BlockingIOError):
        while True:
            reader = server if kind == socket.SOCK_DGRAM else stack.enter_context(server.accept()[0])
            reader.setblocking(False)
            with suppress(BlockingIOError):
                while piece := reader.recv(1 << 16):
                    data += piece
            if kind == socket.SOCK_DGRAM:
                break
    return data


def test_what_stands_in_the_way_of_syslog_is_found_without_a_line(tmp_path: Path) -> None:
    device = f"{tmp_path}/log"
    assert obstacle("syslog", device=device) == "No such file or directory"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(device)
        assert obstacle("syslog", device=device) == ""
        with pytest.raises(BlockingIOError):
            server.recv(1, socket.MSG_DONTWAIT)
    assert obstacle("syslog", device=device) == "Connection refused"


def test_standard_error_is_what_is_asked_for_though_there_is_a_syslog(capfd: pytest.CaptureFixture[str]) -> None:
    open_sink("relay", "stderr")(INFO, "one", PickupLine("two"))
    open_sink("relay", "stderr", quiet=True)(WARNING, "three")
    open_sink("relay", "stderr", quiet=True)(ERROR, "four")
    expected = [f"smartrelay/relay[{PID}]: one", f"smartrelay/pickup[{PID}]: two", f"smartrelay/relay[{PID}]: four"]
    assert capfd.readouterr().err.splitlines() == expected


@pytest.mark.parametrize("where", ["auto", "stderr", "syslog", "file:/var/log/smartrelay/mail.log"])
def test_what_the_setting_may_be(where: str) -> None:
    assert log(where) == where


@pytest.mark.parametrize("where", ["", "journal", "file:", "file:mail.log", "file:/var/log/", "/var/log/x", 5, "file:/a\n"])
def test_what_it_may_not_be(where: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        log(where)


def test_a_line_of_any_characters_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    open_sink("relay", f"file:{path}")(INFO, "\udcff é")
    assert "\\udcff é" in path.read_text(encoding="utf-8")
    assert sinks.PickupLine("x") == "x"
