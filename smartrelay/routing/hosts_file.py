"""The bad-host memory on disk: `hosts.json`, read with suspicion and replaced whole.

ASCII, one host a line: `{"v": 1, "hosts": {KEY: {"reason": ..., "since": ..., ...}}}` with the members of `BadHost`. Nothing
is lost by deleting it, so nothing is synced; what a power cut leaves of it, an empty file too, is an empty memory.
"""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from smartrelay.mail.status import printable

KEPT = 10_000
"""Hosts that are kept; those that failed longest ago go."""

LONGEST_REASON = 500
_VERSION = 1
_LONGEST = 4 << 20
_MODE = 0o600
_NEVER = 1e11

Stamp = tuple[int, int, int]
"""What tells one version of a file from another: inode, time of the last change in nanoseconds, size."""


class BadHost(NamedTuple):
    """A host that could not be spoken to.

    key: "host:port" in lower case, or the path of a local socket. reason: one printable line, about the last failure. since,
    failed: the first and the last failure since it was last known to be good. failures: how many. probe: the next permitted
    connection. until: it is tried after the good ones until then. All times in Unix seconds.
    """

    key: str
    reason: str
    since: float
    failed: float
    failures: int
    probe: float
    until: float


class Unusable(Exception):
    """The file is there, and is none of ours. The text goes on from its name: "is not a regular file"."""


class HostsFile:
    """The file at `path`. Only who holds its lock may `draft`, `publish` and `set_aside`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._draft = f"{path}.tmp"

    def stamp(self) -> Stamp | None:
        """Of what is there now, None for nothing."""
        try:
            return _stamp(os.lstat(self.path))
        except OSError:
            return None

    def read(self) -> tuple[Stamp | None, dict[str, BadHost]]:
        """The hosts by key, and the stamp of the file that was read. Raises Unusable."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            return None, {}
        except OSError as error:
            raise Unusable(f"cannot be opened ({error.strerror})") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable("is not a regular file")
            content = b""
            while len(content) <= _LONGEST and (piece := os.read(descriptor, 1 << 20)):
                content += piece
        except OSError as error:
            raise Unusable(f"cannot be read ({error.strerror})") from error
        finally:
            os.close(descriptor)
        if len(content) > _LONGEST:
            raise Unusable(f"is longer than {_LONGEST >> 20} MiB")
        return _stamp(status), _parsed(content)

    def draft(self, hosts: Sequence[BadHost]) -> Stamp:
        """Writes a new version beside the old one; the stamp that it will have. What is too much for it is cut off at the
        end of `hosts`. Raises OSError."""
        content = _content(hosts)
        try:
            os.unlink(self._draft)
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._draft, flags, _MODE), "wb") as file:
            file.write(content)
            file.flush()
            return _stamp(os.fstat(file.fileno()))

    def publish(self) -> None:
        """Puts what was drafted into the file's place. Raises OSError."""
        os.rename(self._draft, self.path)

    def set_aside(self) -> str:
        """Takes what is unusable out of the way, over what was set aside before; where it is then. Raises OSError."""
        aside = f"{self.path}.bad"
        os.rename(self.path, aside)
        return aside


def normal(key: str) -> str:
    """A key as it is kept: the case of a host does not matter, that of a path does."""
    return key if key.startswith("/") else key.lower()


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _parsed(content: bytes) -> dict[str, BadHost]:
    if not content:
        return {}
    try:
        document = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError):
        raise Unusable("is not JSON in ASCII") from None
    match document:
        case {"v": 1, "hosts": dict() as rows}:
            found = [_host(key, row) for key, row in rows.items()]
        case _:
            raise Unusable("is no bad-host memory, or one of another version")
    return {host.key: host for host in newest(found)}


def _host(key: str, row: object) -> BadHost:
    """One host, each member as it must be. Raises Unusable."""
    match row:
        case {
            "reason": str(reason),
            "since": int() | float() as since,
            "failed": int() | float() as failed,
            "failures": int(failures),
            "probe": int() | float() as probe,
            "until": int() | float() as until,
        } if key.isprintable() and key == normal(key) and failures > 0 and 0 <= since <= failed <= probe <= until < _NEVER:
            times = float(since), float(failed), failures, float(probe), float(until)
            return BadHost(key, printable(reason, LONGEST_REASON), *times)
    raise Unusable(f"has an entry that cannot be read, for {printable(key, 100)!a}")


def newest(hosts: Iterable[BadHost]) -> list[BadHost]:
    """As many as are kept, those that failed last first."""
    return sorted(hosts, key=lambda host: host.failed, reverse=True)[:KEPT]


def _content(hosts: Sequence[BadHost]) -> bytes:
    """As many as fit into a file that can be read again, from the first on."""
    while len(text := _text(hosts)) > _LONGEST:
        hosts = hosts[: len(hosts) * 3 // 4]
    return text.encode("ascii")


def _text(hosts: Iterable[BadHost]) -> str:
    lines = ",\n".join(f"{json.dumps(host.key)}: {json.dumps(_row(host))}" for host in sorted(hosts))
    return f'{{"v": {_VERSION}, "hosts": {{\n{lines}\n}}}}\n'


def _row(host: BadHost) -> dict[str, object]:
    row = host._asdict()
    del row["key"]
    return row
