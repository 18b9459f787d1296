"""The alert: a command that is run when mail is stuck or a relay does not let us in, for mail cannot tell of its own failure.

It is run once when that begins and once when it is over. What it was told is kept in `var/alerts.json`, written after each
telling: a crash in between costs one telling too many, never silence. A command that fails has told nobody; it is run again,
after a minute and then at distances that double up to an hour.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from smartrelay import duration
from smartrelay.config import AlertCommand
from smartrelay.mail.status import visible
from smartrelay.spool import note_rows, notes
from smartrelay.spool.census import Group
from smartrelay.spool.incidents import ACCOUNT, Incident

if TYPE_CHECKING:
    import subprocess

STUCK = "stuck"
"""Mail waits for longer than the configuration allows; the other kind is `spool.incidents.ACCOUNT`."""

LIMIT = 30.0
"""Seconds that the command has."""

_LOOK = 0.1
"""Seconds between two looks whether it is to be ended."""

_FIRST_STEP, _LONGEST_STEP = 60.0, 3600.0
_LONGEST = 1 << 20
_NEVER = 1e11
_SECRET = frozenset(("SMARTRELAY_RELAY",))
"""What of our environment has a password in it."""

Run = Callable[[Sequence[str], Mapping[str, str], str], str]
"""Runs a command with these variables and this text on standard input; what went wrong, "" for nothing."""


class Alert(NamedTuple):
    """Something that is told of, and how far that has come. kind: STUCK or ACCOUNT. name: the relay's. since: Unix seconds.
    told: that it has begun. failures, again: tellings that failed since the last that did not, and when the next is due."""

    kind: str
    name: str
    since: float
    told: bool = False
    failures: int = 0
    again: float = 0.0


class Alerts:
    """Those of one spool; only the pass that holds its lock may `tell`. host: our name. clock: Unix seconds. warn: told in a
    sentence of a command that failed, and of a file that cannot be read or written."""

    def __init__(
        self, spool: str, command: AlertCommand, host: str, *, clock: Callable[[], float], warn: Callable[[str], None], run: Run
    ) -> None:
        self._path = path(spool)
        self._command = command
        self._host = host
        self._clock = clock
        self._warn = warn
        self._run = run
        self._found = self._read()

    def _read(self) -> dict[tuple[str, str], Alert]:
        try:
            found = [_alert(row) for row in note_rows.read(self._path, _LONGEST, "alerts")]
            return {(alert.kind, alert.name): alert for alert in found}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            why = notes.reason(error)
            self._warn(f"cannot read what the alert command was told in {self._path}: {why}; what stands is told again")
            return {}

    def has_news(self, waiting: Group, incidents: Iterable[Incident]) -> bool:
        """Whether there is anything to tell now, or to forget."""
        now = self._clock()
        stand = self._standing(waiting, incidents, now)
        return any(self._is_due(key, stand, now) for key in stand.keys() | self._found.keys())

    def tell(self, waiting: Group, incidents: Iterable[Incident]) -> None:
        """Tells what there is to tell, until one telling fails: no pass waits for a command that hangs more than once."""
        now = self._clock()
        stand = self._standing(waiting, incidents, now)
        for key in sorted(stand.keys() | self._found.keys()):
            if not self._is_due(key, stand, now):
                continue
            alert = self._found.get(key) or Alert(*key, stand[key][0])
            over = key not in stand
            if over and not alert.told:
                del self._found[key]  # nobody knows that it ever was
                self._save()
                continue
            sentence = _over(alert, self._host) if over else stand[key][1]
            failed = self._run(self._command.command, self._variables(alert, waiting, now, over=over), sentence)
            if failed:
                self._warn(f"the alert command {visible(self._command.command[0])} {failed}; it is run again later")
                step = min(_FIRST_STEP * 2.0 ** min(alert.failures, 10), _LONGEST_STEP)
                self._found[key] = alert._replace(failures=alert.failures + 1, again=self._clock() + step)
            elif over:
                del self._found[key]
            else:
                self._found[key] = alert._replace(told=True, failures=0, again=0.0)
            self._save()
            if failed:
                break

    def _standing(self, waiting: Group, incidents: Iterable[Incident], now: float) -> dict[tuple[str, str], tuple[float, str]]:
        """What is wrong now: since when, and the sentence of it."""
        found = {
            (ACCOUNT, each.name): (each.since, f"{self._host}: {each.sentence}") for each in incidents if each.kind == ACCOUNT
        }
        if is_stuck(waiting.oldest, self._command, now) and waiting.oldest is not None:
            many = "1 message waits" if waiting.number == 1 else f"{waiting.number} messages wait"
            age, limit = duration.short(now - waiting.oldest), duration.short(self._command.after)
            sentence = (
                f"{self._host}: {many}, the oldest for {age}, which is longer than {limit}; `smartrelay queue list` shows why"
            )
            found[STUCK, ""] = (waiting.oldest, sentence)
        return found

    def _is_due(self, key: tuple[str, str], stand: Mapping[tuple[str, str], object], now: float) -> bool:
        alert = self._found.get(key)
        if alert is None:
            return True
        if key in stand and alert.told:
            return False
        # a time further off than any step is that of a clock that was wrong
        return not now < alert.again <= now + _LONGEST_STEP

    def _variables(self, alert: Alert, waiting: Group, now: float, *, over: bool) -> dict[str, str]:
        oldest = now if waiting.oldest is None else waiting.oldest
        return {
            "SMARTRELAY_ALERT": alert.kind,
            "SMARTRELAY_ALERT_STATE": "over" if over else "begun",
            "SMARTRELAY_ALERT_RELAY": alert.name,
            "SMARTRELAY_ALERT_SINCE": str(int(alert.since)),
            "SMARTRELAY_ALERT_HOST": self._host,
            "SMARTRELAY_ALERT_WAITING": str(waiting.number),
            "SMARTRELAY_ALERT_OLDEST": str(max(0, int(now - oldest))),
        }

    def _save(self) -> None:
        try:
            note_rows.write(self._path, "alerts", self._found.values())
        except OSError as error:
            self._warn(f"cannot write {self._path}: {error.strerror}; the alert command is told the same again")


def load() -> None:
    """Imports what running a command takes, for a process that cannot do so later (the interpreter may be root's)."""
    import subprocess  # noqa: F401


def path(spool: str) -> str:
    """The file."""
    return f"{spool}/var/alerts.json"


def is_stuck(oldest: float | None, command: AlertCommand, now: float) -> bool:
    """Whether mail that came in then waits for too long."""
    return oldest is not None and now - oldest >= command.after


def run(
    words: Sequence[str],
    variables: Mapping[str, str],
    sentence: str,
    *,
    limit: float = LIMIT,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Runs the command as whoever we are, with our standard error for all its output; it and what it started end when its time
    is over, or `stopped` says that ours is. What went wrong, "" for nothing."""
    import subprocess  # an idle pass only looks whether there is anything to tell

    environment = {name: value for name, value in os.environ.items() if name not in _SECRET} | dict(variables)
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=2, env=environment, cwd="/", start_new_session=True)
    except (OSError, ValueError) as error:
        return f"cannot be run: {error.strerror if isinstance(error, OSError) else error}"
    text: bytes | None = f"{sentence}\n".encode("utf-8", "replace")
    end = time.monotonic() + limit
    try:
        while True:
            try:
                process.communicate(text, timeout=_LOOK)
                break
            except subprocess.TimeoutExpired:
                text = None  # it goes on with what is left of it
            if stopped():
                return "was broken off, for the pass was to end"
            if time.monotonic() >= end:
                return f"did not end within {limit:g} s"
    finally:
        if process.returncode is None:
            _kill(process)
    if process.returncode < 0:
        return f"was ended by signal {-process.returncode}"
    return f"failed with exit code {process.returncode}" if process.returncode else ""


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends it with all that it has started, but for what has become another user."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        return
    process.wait()


def _over(alert: Alert, host: str) -> str:
    if alert.kind == STUCK:
        return f"{host}: no message waits for too long any more"
    return f"{host}: it is over that relay {alert.name} could not be used"


def _alert(row: object) -> Alert:
    match row:
        case {
            "kind": str(kind),
            "name": str(name),
            "since": int() | float() as since,
            "told": bool(told),
            "failures": int(failures),
            "again": int() | float() as again,
        } if kind in (STUCK, ACCOUNT) and 0 <= since < _NEVER and 0 <= again < _NEVER and 0 <= failures < _NEVER:
            return Alert(kind, visible(name), float(since), told, failures, float(again))
    raise ValueError("no alert")
