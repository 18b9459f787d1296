"""The alert command is told once that something began and once that it is over, whatever goes wrong in between."""

import errno
import itertools
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from smartrelay.config import AlertCommand
from smartrelay.relay import alert
from smartrelay.relay.alert import STUCK, Alerts
from smartrelay.spool.census import Group
from smartrelay.spool.incidents import ACCOUNT, DOUBT, Incident
from tests.support.clock import FakeClock
from tests.support.process import is_gone
from tests.support.queues import new_spool

HOUR = 3600.0
COMMAND = AlertCommand(("page", "ops"), 4 * HOUR)
NOTHING = Group()


class Desk:
    """Passes over one spool, and what the command was told by each. fails: what is wrong with the command."""

    def __init__(self, folder: str, clock: FakeClock) -> None:
        self.spool = new_spool(folder)
        self.clock = clock
        self.told: list[tuple[str, ...]] = []
        self.sentences: list[str] = []
        self.variables: dict[str, str] = {}
        self.warnings: list[str] = []
        self.fails = ""

    def _run(self, words: Sequence[str], variables: Mapping[str, str], sentence: str) -> str:
        assert words == ("page", "ops")
        self.variables = dict(variables)
        self.sentences.append(sentence)
        self.told.append(tuple(variables[f"SMARTRELAY_ALERT{name}"] for name in ("", "_RELAY", "_STATE")))
        return self.fails

    def alerts(self) -> Alerts:
        return Alerts(self.spool, COMMAND, "host.example.org", clock=self.clock, warn=self.warnings.append, run=self._run)

    def pass_over(self, waiting: Group = NOTHING, *accounts: str, seconds: float = 60.0) -> list[tuple[str, ...]]:
        """A pass, after so many seconds; what the command was told by it."""
        self.clock.advance(seconds)
        before = len(self.told)
        found = [Incident(ACCOUNT, name, 5.0, 6.0, 1, f"relay {name} cannot be used: 535 no") for name in accounts]
        found.append(Incident(DOUBT, "0" * 17, 5.0, 6.0, 1, "in doubt"))
        news = self.alerts().has_news(waiting, found)
        self.alerts().tell(waiting, found)
        assert news or len(self.told) == before, "an idle pass would have missed it"
        assert not self.alerts().has_news(waiting, found) or self.fails
        return self.told[before:]

    def waiting(self, age: float, number: int = 1) -> Group:
        """So many messages, when the next pass comes."""
        return Group(number, self.clock() + 60 - age)


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(str(tmp_path), clock)


def files(desk: Desk) -> list[str]:
    return os.listdir(f"{desk.spool}/var")


def test_stuck_mail_is_told_once_and_that_it_is_over_once(desk: Desk) -> None:
    assert desk.pass_over(desk.waiting(4 * HOUR - 1)) == [] and files(desk) == []
    assert desk.pass_over(desk.waiting(4 * HOUR, 3)) == [(STUCK, "", "begun")]
    assert desk.sentences == [
        "host.example.org: 3 messages wait, the oldest for 4h, which is longer than 4h; `smartrelay queue list` shows why"
    ]
    assert stat.S_IMODE(os.stat(alert.path(desk.spool)).st_mode) == 0o600
    for age in (5 * HOUR, 9 * HOUR, 4 * HOUR):
        assert desk.pass_over(desk.waiting(age)) == []
    assert desk.pass_over(desk.waiting(HOUR)) == [(STUCK, "", "over")]
    assert files(desk) == [] and desk.pass_over() == []
    assert desk.pass_over(desk.waiting(4 * HOUR)) == [(STUCK, "", "begun")], "the next incident is told anew"


def test_a_relay_that_does_not_let_us_in_is_told_at_once(desk: Desk) -> None:
    assert desk.pass_over(NOTHING, "work") == [(ACCOUNT, "work", "begun")]
    assert desk.sentences == ["host.example.org: relay work cannot be used: 535 no"]
    assert desk.pass_over(desk.waiting(5 * HOUR), "work", "home") == [(ACCOUNT, "home", "begun"), (STUCK, "", "begun")]
    assert desk.pass_over(desk.waiting(5 * HOUR), "home") == [(ACCOUNT, "work", "over")]
    assert desk.pass_over() == [(ACCOUNT, "home", "over"), (STUCK, "", "over")]


def test_the_command_gets_the_facts(desk: Desk) -> None:
    desk.pass_over(desk.waiting(5 * HOUR, 7))
    assert desk.variables == {
        "SMARTRELAY_ALERT": "stuck",
        "SMARTRELAY_ALERT_STATE": "begun",
        "SMARTRELAY_ALERT_RELAY": "",
        "SMARTRELAY_ALERT_SINCE": str(int(desk.clock() - 5 * HOUR)),
        "SMARTRELAY_ALERT_HOST": "host.example.org",
        "SMARTRELAY_ALERT_WAITING": "7",
        "SMARTRELAY_ALERT_OLDEST": str(5 * 3600),
    }


def test_a_command_that_fails_is_run_again_at_growing_distances(desk: Desk) -> None:
    """Its failure is a warning; never silence. One that hangs holds a pass up once."""
    desk.fails = "did not end within 30 s"
    first = desk.clock()
    times = []
    for _ in range(400):
        if told := desk.pass_over(desk.waiting(9 * HOUR)):
            assert told == [(STUCK, "", "begun")]
            times.append(desk.clock() - first)
    distances = [round((later - earlier) / 60) for earlier, later in itertools.pairwise(times)]
    assert distances[:8] == [1, 2, 4, 8, 16, 32, 60, 60] and set(distances[8:]) == {60}
    assert desk.warnings[0] == "the alert command page did not end within 30 s; it is run again later"
    desk.fails = ""
    assert desk.pass_over(desk.waiting(9 * HOUR), seconds=HOUR) == [(STUCK, "", "begun")]
    assert desk.pass_over(desk.waiting(9 * HOUR), seconds=HOUR) == []


def test_the_first_failure_ends_the_telling_of_a_pass(desk: Desk) -> None:
    desk.fails = "failed with exit code 1"
    assert desk.pass_over(desk.waiting(9 * HOUR), "a", "b") == [(ACCOUNT, "a", "begun")]
    desk.fails = ""
    assert desk.pass_over(desk.waiting(9 * HOUR), "a", "b", seconds=30) == [(ACCOUNT, "b", "begun"), (STUCK, "", "begun")]
    assert desk.pass_over(desk.waiting(9 * HOUR), "a", "b", seconds=30) == [(ACCOUNT, "a", "begun")]


def test_what_nobody_was_told_needs_no_end(desk: Desk) -> None:
    desk.fails = "failed with exit code 1"
    desk.pass_over(desk.waiting(9 * HOUR))
    desk.fails = ""
    assert desk.pass_over(seconds=HOUR) == [] and files(desk) == []


def test_an_end_that_could_not_be_told_is_told_later(desk: Desk) -> None:
    desk.pass_over(desk.waiting(9 * HOUR))
    desk.fails = "failed with exit code 1"
    assert desk.pass_over() == [(STUCK, "", "over")]
    desk.fails = ""
    assert desk.pass_over(seconds=59) == []
    assert desk.pass_over(seconds=1) == [(STUCK, "", "over")]
    assert desk.pass_over(seconds=HOUR) == []


def test_a_crash_behind_the_telling_repeats_it_and_nothing_else(desk: Desk) -> None:
    """Never silence: what was told is written down after it was."""
    desk.pass_over(NOTHING, "home")

    class Killed(BaseException):
        pass

    def killed(words: Sequence[str], variables: Mapping[str, str], sentence: str) -> str:
        raise Killed

    found = [Incident(ACCOUNT, name, 5.0, 6.0, 1, "x") for name in ("home", "work")]
    alerts = Alerts(desk.spool, COMMAND, "host.example.org", clock=desk.clock, warn=pytest.fail, run=killed)
    with pytest.raises(Killed):
        alerts.tell(NOTHING, found)
    assert desk.pass_over(NOTHING, "home", "work") == [(ACCOUNT, "work", "begun")]
    assert desk.pass_over(NOTHING, "home", "work") == []


def test_what_cannot_be_written_down_is_told_again(desk: Desk) -> None:
    os.mkdir(alert.path(desk.spool) + ".new")
    for _ in range(2):
        desk.clock.advance(60)
        desk.alerts().tell(NOTHING, [Incident(ACCOUNT, "work", 5.0, 6.0, 1, "x")])
    assert desk.told == [(ACCOUNT, "work", "begun")] * 2
    assert "is told the same again" in desk.warnings[0]


def test_a_clock_that_was_wrong_does_not_silence_it(desk: Desk) -> None:
    desk.fails = "failed with exit code 1"
    desk.pass_over(NOTHING, "work", seconds=10 * 365 * 86400)
    desk.fails = ""
    assert desk.pass_over(NOTHING, "work", seconds=-10 * 365 * 86400) == [(ACCOUNT, "work", "begun")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[" * 100_000,
        b'{"v": 2, "alerts": []}',
        b'{"v": 1, "alerts": [{}]}',
        b'{"v": 1, "alerts": [{"kind": "x", "name": "", "since": 1, "told": true, "failures": 0, "again": 0}]}',
        b'{"v": 1, "alerts": [{"kind": "stuck", "name": "", "since": 1, "told": true, "failures": 0, "again": NaN}]}',
        b"x" * (2 << 20),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of_and_what_stands_is_told_again(desk: Desk, content: bytes) -> None:
    Path(alert.path(desk.spool)).write_bytes(content)
    assert desk.pass_over(desk.waiting(9 * HOUR)) == [(STUCK, "", "begun")]
    assert "what stands is told again" in desk.warnings[0]
    assert desk.pass_over(desk.waiting(9 * HOUR)) == []


# the command itself


def test_a_real_command_reads_the_sentence_and_the_variables(tmp_path: Path) -> None:
    script = f'{{ cat; echo "$SMARTRELAY_ALERT"; echo "$0 $1"; pwd; }} > {tmp_path}/told'
    words = ["/bin/sh", "-c", script, "a word", "with 'quotes' $HOME"]
    assert alert.run(words, {"SMARTRELAY_ALERT": "stuck"}, "a sentence, ü") == ""
    assert (tmp_path / "told").read_text().splitlines() == ["a sentence, ü", "stuck", "a word with 'quotes' $HOME", "/"]


def test_it_gets_no_password_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTRELAY_RELAY", "smtp+tls://user:secret@smtp.example.org")
    monkeypatch.setenv("SMARTRELAY_SPOOL", "/srv/spool")
    assert alert.run(["/bin/sh", "-c", f"env > {tmp_path}/env"], {}, "x") == ""
    text = (tmp_path / "env").read_text()
    assert "secret" not in text and "SMARTRELAY_SPOOL=/srv/spool\n" in text and "PATH=" in text


def test_its_output_goes_where_our_log_goes(capfd: pytest.CaptureFixture[str]) -> None:
    assert alert.run(["/bin/sh", "-c", "echo one; echo two >&2"], {}, "x") == ""
    captured = capfd.readouterr()
    assert (captured.out, sorted(captured.err.split())) == ("", ["one", "two"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["/bin/sh", "-c", "exit 3"], "failed with exit code 3"),
        (["/bin/sh", "-c", "kill -9 $$"], "was ended by signal 9"),
        (["/nonexistent/page"], "cannot be run: No such file or directory"),
        (["/etc/passwd"], "cannot be run: Permission denied"),
        (["/"], "cannot be run: Permission denied"),
    ],
)
def test_what_goes_wrong_is_said(words: list[str], why: str) -> None:
    assert alert.run(words, {}, "x") == why


def test_one_that_reads_nothing_is_no_failure() -> None:
    assert alert.run(["/bin/true"], {}, "x" * (1 << 20)) == ""


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/child; trap '' TERM; wait; sleep 1000"]
    started = time.monotonic()
    assert alert.run(words, {}, "x", limit=1.0) == "did not end within 1 s"
    assert time.monotonic() - started < 20
    child = int((tmp_path / "child").read_text())
    assert is_gone(child)


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_one_that_has_become_another_user_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo, say: the pass goes on."""

    def not_permitted(group: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("os.killpg", not_permitted)
        assert alert.run(["/bin/sleep", "3"], {}, "x", limit=0.1) == "did not end within 0.1 s"
