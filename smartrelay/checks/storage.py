"""The spool: whose it is, whether it can be written, its room, and what lies there that should not."""

import errno
import os
import stat
import time
from collections.abc import Callable

from smartrelay import duration
from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.config import Config
from smartrelay.errors import ConfigError
from smartrelay.spool import access, names, queue_id
from smartrelay.spool.durable import FILE_MODE
from smartrelay.spool.making import DIRECTORIES, must_be_ours

RELEASED = 1767225600.0
"""2026-01-01: no clock that is right says less."""

_LATE = 900.0
"""Seconds after which new mail should have been seen by a pass: the timer makes one each minute."""

_FUTURE = 3600.0
"""Seconds by which a clock may have been wrong without anybody's notice: no more than a time zone mistaken by one."""


def enter(spool: str) -> tuple[list[Finding], bool]:
    """Makes a process of root's the owner of the spool, as a pass does; whether it can be looked into.

    Nothing is made or changed, unlike by `spool.access.enter`.
    """
    try:
        status = os.stat(spool)
    except FileNotFoundError:
        return [_missing(spool)], False
    except OSError as error:
        words = f"cannot reach {spool}: {error.strerror}"
        return [Finding(FAIL, "spool", words, "let the user whose mail it is pass all directories above it")], False
    if not stat.S_ISDIR(status.st_mode):
        return [Finding(FAIL, "spool", f"{spool} is no directory", "set `spool` to a directory of its own")], False
    uid = os.geteuid()
    owner = access.user(status.st_uid)
    if uid not in (0, status.st_uid):
        words = f"{spool} belongs to {owner}, so that it cannot be tried by {access.user(uid)}"
        return [Finding(WARN, "spool", words, f"run this as root or as {owner}")], False
    if status.st_uid != uid:
        access.become(status.st_uid, status.st_gid)
    if status.st_mode & 0o077:
        words = f"{spool} has mode {stat.S_IMODE(status.st_mode):04o}: others can look into it"
        return [Finding(WARN, "spool", words, f"chmod 700 {spool}; the next pass does it too")], True
    return [Finding(OK, "spool", f"{spool} belongs to {owner}, closed to others")], True


def _missing(spool: str) -> Finding:
    above = os.path.dirname(spool.rstrip("/")) or "/"
    while not os.path.isdir(above) and above != "/":
        above = os.path.dirname(above)
    if os.access(above, os.W_OK | os.X_OK):
        return Finding(OK, "spool", f"{spool} is not there yet; the first message makes it")
    return Finding(FAIL, "spool", f"there is no {spool}, and {above} cannot be written", "run `smartrelay setup`")


def findings(config: Config, clock: Callable[[], float]) -> list[Finding]:
    """What is to be said of the inside of the spool. Nothing of the queue is touched."""
    spool = config.spool
    try:
        if not os.path.exists(f"{spool}/format"):
            must_be_ours(spool)
            return [Finding(OK, "spool", f"{spool} is empty; the first message furnishes it"), _space(config)]
        layout = _layout(spool)
        if layout is not None:
            return [layout, _space(config)]
        return [*_strangers(spool), _writable(spool), _space(config), _corrupt(spool), *_times(config, clock())]
    except ConfigError as error:
        return [Finding(FAIL, "spool", str(error))]
    except OSError as error:
        words = f"cannot read {error.filename or spool}: {error.strerror}"
        return [Finding(FAIL, "spool", words, "look at the file system, and at who owns the spool's files")]


def _layout(spool: str) -> Finding | None:
    """What keeps it from being used at all."""
    with open(f"{spool}/format", "rb") as file:
        version = file.read(64)
    if version != access.FORMAT:
        shown = ascii(version.decode("ascii", "replace").strip())
        return Finding(FAIL, "spool", f"its format is {shown}, which this version cannot read", "upgrade smartrelay")
    lacking = [name for name in DIRECTORIES if not os.path.isdir(f"{spool}/{name}")]
    if lacking:
        words = f"it has no {' and no '.join(f'{name}/' for name in lacking)}"
        return Finding(FAIL, "spool", words, f"mkdir -m 700 {' '.join(f'{spool}/{name}' for name in lacking)} as its owner")
    return None


def _strangers(spool: str) -> list[Finding]:
    """Files that somebody else has left, which no pass could open."""
    found, owner = [], os.stat(spool).st_uid
    for folder in (spool, *(f"{spool}/{name}" for name in DIRECTORIES)):
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a pass is at work
                if status.st_uid != owner:
                    found.append(entry.path)
    if not found:
        return []
    whose = access.user(owner)
    verb = "belongs" if len(found) == 1 else "belong"
    words = f"{len(found)} of its files {verb} to others than {whose}, the first is {min(found)}"
    return [Finding(FAIL, "spool", words, f"chown -R --reference={spool} {spool}")]


def _writable(spool: str) -> Finding:
    """Whether a file can be written and brought to the disk, in `tmp/`, where no pass looks for mail."""
    path = f"{spool}/tmp/check.{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            os.write(descriptor, b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            os.unlink(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "make room on its file system" if full else "mount it for writing, and let its owner write there"
        return Finding(FAIL, "spool", f"cannot write to {spool}/tmp: {error.strerror}", mend)
    return Finding(OK, "spool", "a file was written there, brought to the disk and taken away")


def _space(config: Config) -> Finding:
    space = os.statvfs(config.spool)
    free, least = space.f_bavail * space.f_frsize, config.min_free_space
    if free < least:
        words = f"{_size(free)} free, less than min_free_space ({_size(least)}): new mail is refused"
        return Finding(FAIL, "space", words, "make room on the spool's file system, or lower min_free_space")
    if space.f_files and not space.f_favail:
        return Finding(FAIL, "space", "the spool's file system has no room for one more file", "remove files there")
    return Finding(OK, "space", f"{_size(free)} free, min_free_space is {_size(least)}")


def _size(octets: int) -> str:
    return f"{octets >> 20} MiB"


def _corrupt(spool: str) -> Finding:
    count = len(os.listdir(f"{spool}/{names.CORRUPT}"))
    if not count:
        return Finding(OK, "corrupt", "no message was set aside as unreadable")
    words = f"{count} file{' was' if count == 1 else 's were'} set aside as unreadable"
    return Finding(WARN, "corrupt", words, f"look into {spool}/{names.CORRUPT}, and take away what is not needed")


def _times(config: Config, now: float) -> list[Finding]:
    """The clock, by itself and by what the spool tells of it; and whether new mail waits for a pass that never comes."""
    spool, mend = config.spool, "set the clock, and let something like systemd-timesyncd keep it"
    new = os.listdir(f"{spool}/{names.NEW}")
    waiting = dict(found for name in os.listdir(f"{spool}/{names.CUR}") if (found := names.split(name)))
    limit = queue_id.new(int((now + _FUTURE) * 1e6), bytes(4))  # ids sort by arrival
    ids = (*new, *waiting, *os.listdir(f"{spool}/{names.HOLD}"))
    ahead = [one for one in ids if one > limit and queue_id.is_valid(one)]
    late = [due for due in waiting.values() if due > now + config.horizon]
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    if now < RELEASED:
        clock = Finding(FAIL, "clock", f"it says {shown}, which is long ago: certificates cannot be judged", mend)
    elif ahead or late:
        count = len(ahead) or len(late)
        words = f"it says {shown}, but {count} message{'' if count == 1 else 's'} of the spool "
        words += "came in after that" if ahead else "would wait for longer than any can"
        clock = Finding(WARN, "clock", f"{words}: it is wrong now, or was then", mend)
    else:
        clock = Finding(OK, "clock", f"it says {shown}")
    return [clock, *_unseen(spool, new, now)]


def _unseen(spool: str, new: list[str], now: float) -> list[Finding]:
    since = []
    for name in new:
        try:
            since.append(os.stat(f"{spool}/{names.NEW}/{name}").st_ctime)
        except FileNotFoundError:
            continue  # a pass has just taken it in
    oldest = min(since, default=now)
    if now - oldest < _LATE:
        return []
    words = f"new mail has waited for {duration.short(now - oldest)}, and no pass has looked at it"
    return [Finding(WARN, "passes", words, "let something run `smartrelay flush`: `smartrelay setup`, cron, or --every")]
