"""The parts of `check` that no command of a test can bring about: time, another user's units, what never ends."""

import os
import threading
import time
from pathlib import Path

import pytest

from smartrelay import config as configurations
from smartrelay import settings
from smartrelay.checks import credentials, identity, starter, storage, telling, trials
from smartrelay.checks.finding import FAIL, OK, WARN, Finding, forgiven, worst
from smartrelay.checks.remedy import remedy
from smartrelay.config import Auth, Relay
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from smartrelay.spool.queue import Queue
from tests.support.configuration import configuration
from tests.support.queues import new_spool, put

# What is found.


def test_the_worst_decides_and_what_is_forgiven_is_a_warning() -> None:
    good, odd, bad = (Finding(status, "x", "y") for status in (OK, WARN, FAIL))
    assert [worst(each) for each in ([], [good], [good, odd], [bad, good, odd])] == [OK, OK, WARN, FAIL]
    assert forgiven([good, odd, bad]) == [good, odd, odd]


# Trials.


def test_trials_run_side_by_side_and_their_results_keep_their_order() -> None:
    """Each of twenty waits for all the others; more come after them."""
    together = threading.Barrier(trials.AT_ONCE)

    def trial(number: int) -> int:
        if number < trials.AT_ONCE:
            together.wait(20)
        return number

    numbers = range(trials.AT_ONCE + 3)
    assert trials.run([lambda number=number: trial(number) for number in numbers]) == list(numbers)  # type: ignore[misc]


def test_a_trial_that_never_ends_is_left_behind() -> None:
    """The others' results stand."""
    end = threading.Event()
    try:
        assert trials.run([end.wait, lambda: True], 0.05) == [None, True]
    finally:
        end.set()


def test_what_a_trial_raises_is_raised() -> None:
    def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        trials.run([wrong])


# Time.


def test_new_mail_that_no_pass_has_looked_at(tmp_path: Path) -> None:
    """A quarter of an hour is long enough for any timer; what a pass has put off may wait for days."""
    spool = new_spool(str(tmp_path))
    queue = Queue(spool)
    put(queue, ["you@b.example"])

    def found(later: float) -> list[str]:
        findings = storage.findings(configuration(spool), lambda: time.time() + later)
        return [f"{finding.status}: {finding.words}" for finding in findings if finding.status != OK]

    assert found(60) == []
    assert found(1200) == ["warn: new mail has waited for 20m, and no pass has looked at it"]
    queue.take_in()
    assert found(1200) == []


def test_a_clock_that_has_lost_the_year(tmp_path: Path) -> None:
    """No certificate is good then; that all mail seems to come from the future is no second fault."""
    spool = new_spool(str(tmp_path))
    put(Queue(spool), ["you@b.example"])
    findings = storage.findings(configuration(spool), lambda: 86400.0)
    (clock,) = [finding for finding in findings if finding.status != OK]
    assert (clock.status, clock.kind) == (FAIL, "clock")
    assert clock.words.startswith("it says 1970-01-0") and "set the clock" in clock.mend


# Secrets.


def test_a_secret_that_the_spools_owner_could_not_read(tmp_path: Path) -> None:
    """Of files only: what it is that a command or the environment gives to another, nobody can tell."""
    path = tmp_path / "secret"
    path.touch(0o600)
    rules = tuple(
        Relay(name, (("smtps://x",),), "", auth=Auth("me", secret) if secret else None)
        for name, secret in (("a", f"file:{path}"), ("b", "env:X"), ("c", "cmd:cat x"), ("d", ""), ("e", "credential:x"))
    )
    assert credentials.closed_to_us(rules, "user x") == []
    path.unlink()
    (finding,) = credentials.closed_to_us(rules, "user x")
    assert (finding.status, finding.relay) == (FAIL, "a")
    assert finding.words == f"{path} can be read by root, but not by user x, whom systemd starts the passes as"


# What starts the passes.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose service manager runs; its systemctl says what the file `active` has."""
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").touch()
    (tmp_path / "active").write_text("")
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = --user ] && [ "$2" = is-active ] && grep -qx "$4" {tmp_path}/active\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_units_that_are_not_active(home: Path) -> None:
    """A hint with the command that helps: setup where there are no units, else the one that enables them."""
    places = starter.places_of("/c.toml", "/spool", user=True)
    assert places is not None and not starter.is_installed(places)
    (finding,) = starter.findings(places, usual=True)
    assert (finding.status, finding.mend) == (WARN, "smartrelay setup --user")
    assert starter.findings(places, usual=False) == []  # somebody's own: they know what looks after it
    units = home / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / "smartrelay-flush.service").write_text('ExecStart="smartrelay" flush --config "/c.toml"\n')
    assert starter.is_installed(places)
    (home / "active").write_text("smartrelay-flush.timer\n")
    (finding,) = starter.findings(places, usual=False)
    assert finding.words.startswith("smartrelay-flush.path is not active")
    assert finding.mend == "systemctl --user enable --now smartrelay-flush.path"
    (home / "active").write_text("smartrelay-flush.timer\nsmartrelay-flush.path\n")
    assert [finding.status for finding in starter.findings(places, usual=False)] == [OK]


def test_without_systemd_nothing_is_said(home: Path) -> None:
    places = starter.places_of("/c.toml", "/spool", user=True)
    (home / "run/systemd/private").unlink()
    assert places is not None and starter.findings(places, usual=True) == []
    assert starter.places_of('/"/c.toml', "/spool", user=True) is None


# What to do.


@pytest.mark.parametrize("phase", [Phase.LOOKUP, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.TLS, Phase.AUTH])
def test_there_is_something_to_do_whatever_happens_before_mail(phase: Phase) -> None:
    """For each trouble that a session can end with, and each reply but a good one."""
    elsewhere = {Trouble.CONTENT, Trouble.CONFIGURATION, Trouble.UNTOUCHED, Trouble.STOPPED}
    for trouble in set(Trouble) - elsewhere:
        assert remedy(Answer(phase, trouble=trouble, text="x")), trouble
    assert remedy(Answer(phase, Reply(421, ("x",)))) == "the server cannot just now: try later"
    if phase in (Phase.GREETING, Phase.EHLO, Phase.AUTH):
        assert remedy(Answer(phase, Reply(554, ("x",))))


# How others are told


def told(tmp_path: Path, more: str) -> list[tuple[str, str, str]]:
    config = tmp_path / "smartrelay.toml"
    config.write_text(f'hostname = "h.example.org"\nspool = "{tmp_path}/spool"\n{more}', encoding="utf-8")
    return [(found.status, found.kind, found.words) for found in telling.findings(configurations.load(str(config)))]


def test_a_status_file_that_cannot_be_written_or_that_nobody_can_read(tmp_path: Path) -> None:
    assert told(tmp_path, 'status_file = ""\n') == []
    there = tmp_path / "run"
    there.mkdir(mode=0o700)
    (missing,) = told(tmp_path, f'status_file = "{tmp_path}/no/where/status.json"\n')
    assert missing[:2] == (WARN, "status") and "cannot write" in missing[2]
    (closed,) = told(tmp_path, f'status_file = "{there}/status.json"\n')
    assert closed[:2] == (WARN, "status") and "cannot look into" in closed[2]
    there.chmod(0o755)
    for path in (f"{there}/status.json", f"{tmp_path}/made/status.json"):
        assert told(tmp_path, f'status_file = "{path}"\n')[0][:2] == (OK, "status")
    assert not (tmp_path / "made").exists()
    (tmp_path / "file").touch()
    (there / "folder").mkdir()
    for path, words in ((f"{tmp_path}/file/status.json", "cannot write"), (f"{there}/folder", "is a directory")):
        (wrong,) = told(tmp_path, f'status_file = "{path}"\n')
        assert wrong[:2] == (WARN, "status") and words in wrong[2]


@pytest.mark.parametrize(
    ("command", "status"), [("/bin/sh", OK), ("sh", OK), ("/no/such/command", FAIL), ("no-such-pager", FAIL)]
)
def test_an_alert_command_that_is_not_there(tmp_path: Path, command: str, status: str) -> None:
    assert told(tmp_path, f'status_file = ""\n[alert]\ncommand = ["{command}", "x"]\n')[0][:2] == (status, "alert")


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """A file is opened as a pass does it, and neither made nor changed."""
    top = 'status_file = ""\n'
    for usual in ("", 'log = "auto"\n', 'log = "stderr"\n'):
        assert told(tmp_path, top + usual) == []
    missing, there = tmp_path / "none" / "mail.log", tmp_path / "mail.log"
    ((status, kind, words),) = told(tmp_path, f'{top}log = "file:{missing}"\n')
    assert (status, kind) == (WARN, "log") and f"cannot write to {missing}: No such file or directory" in words
    assert told(tmp_path, f'{top}log = "file:{there}"\n')[0][:2] == (OK, "log") and not there.exists()
    there.write_text("before\n")
    assert told(tmp_path, f'{top}log = "file:{there}"\n')[0][:2] == (OK, "log") and there.read_text() == "before\n"
    (folder,) = told(tmp_path, f'{top}log = "file:{tmp_path}"\n')
    assert folder[0] == WARN and "Is a directory" in folder[2]


@pytest.mark.parametrize(("own", "status"), [(True, WARN), (False, FAIL)])
def test_mail_for_root_without_a_reader_is_no_fault_of_a_spool_of_ones_own(tmp_path: Path, own: bool, status: str) -> None:
    file = tmp_path / "smartrelay.toml"
    file.write_text(f'hostname = "h.example.org"\nspool = "{tmp_path}/spool"\naliases = ""\n', encoding="utf-8")
    found = settings.load(str(file))
    found.direct = own
    (one,) = [each for each in identity.findings(configurations.load(str(file)), found, None) if each.kind == "aliases"]
    assert (one.status, "root" in one.words) == (status, True)
