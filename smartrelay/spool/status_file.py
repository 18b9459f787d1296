"""The status file: what each pass tells everyone, in counts and ages, without addresses.

It is outside the spool, which nobody else may look into: JSON in ASCII, mode 0644, replaced whole by each pass. Its reader
trusts nothing in it.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from smartrelay.spool import notes
from smartrelay.spool.census import Census, Group
from smartrelay.spool.durable import remove, write_all
from smartrelay.spool.totals import RESULTS, Totals, Work

FORMAT = 1
LONGEST = 1 << 16
NAMED = 20
"""Relays that are named of those that do not let us in."""

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
_LARGEST = 1 << 63
_LONGEST_TEXT = 255


class Noted(NamedTuple):
    """The incidents of one kind. number: how many. since: when the first began, in Unix seconds, None for none. relays: the
    names of those that are meant, as many as `NAMED`."""

    number: int = 0
    since: float | None = None
    relays: tuple[str, ...] = ()


class Incidents(NamedTuple):
    """What an operator must put right, by kind (`spool.incidents`)."""

    account: Noted = Noted()
    configuration: Noted = Noted()
    doubt: Noted = Noted()


class Status(NamedTuple):
    """version: of the program. time: when this was written, in Unix seconds. start: of the pass that wrote it, and result how
    it ended (`spool.totals`). totals: of all passes, with the last that had work. relays: how many are configured, None where
    that is not known. offline: the pass had no way to some host. free: octets left for the spool, None where the system does
    not tell; needed: below which no mail is accepted."""

    version: str
    time: float
    start: float
    result: str
    totals: Totals
    messages: Census
    incidents: Incidents
    relays: int | None
    offline: bool
    free: int | None
    needed: int


def replace(path: str, content: Callable[[], bytes]) -> bool:
    """Puts a whole file in the place of the one before; False where another process is doing that right now.

    Its directory is made where only that is missing. Whoever is killed on the way leaves the old file, and a draft that the
    next one takes over. Raises OSError.
    """
    draft = f"{path}.new"
    descriptor = _open(draft)
    try:
        # (lockf needs no module: an idle pass comes here)
        os.lockf(descriptor, os.F_TLOCK, 0)
        if os.fstat(descriptor).st_ino != os.stat(draft, follow_symlinks=False).st_ino:
            return False
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, _FILE_MODE)
        try:
            write_all(descriptor, content())
            os.rename(draft, path)
        except OSError:
            remove(draft)
            raise
        return True
    except (BlockingIOError, PermissionError, FileNotFoundError):  # another has it, or has just put it into its place
        return False
    finally:
        os.close(descriptor)


def _open(draft: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(draft, flags, _FILE_MODE)
    except FileNotFoundError:
        directory = os.path.dirname(draft)
        os.mkdir(directory)
        os.chmod(directory, _DIRECTORY_MODE)
        return os.open(draft, flags, _FILE_MODE)


# out


def text(status: Status) -> bytes:
    """The file's content."""
    return f"{_json(table(status))}\n".encode("ascii")


def table(status: Status) -> dict[str, Any]:
    """What the file has, as it stands there."""
    totals, work = status.totals, status.totals.work
    return {
        "format": FORMAT,
        "version": status.version,
        "time": status.time,
        "pass": {"start": status.start, "seconds": max(0.0, status.time - status.start), "result": status.result},
        "work": work._asdict() if work.result else None,
        "last_success": totals.success or None,
        "totals": {name: getattr(totals, name) for name in _COUNTED},
        "messages": {name: _group_row(group) for name, group in status.messages._asdict().items()},
        "incidents": {name: _noted_row(noted) for name, noted in status.incidents._asdict().items()},
        "relays": status.relays,
        "bad_hosts": {"count": totals.bad_hosts, "until": totals.bad_until or None},
        "offline": status.offline,
        "space": {"free": status.free, "needed": status.needed},
    }


_COUNTED = ("delivered", "deferred", "bounced", "expired")


def _group_row(group: Group) -> dict[str, Any]:
    return {"count": group.number, "oldest": group.oldest}


def _noted_row(noted: Noted) -> dict[str, Any]:
    return {"count": noted.number, "since": noted.since, "relays": list(noted.relays)}


def _json(value: Any) -> str:
    """JSON, without what loads for half as long as an idle pass has for all of this."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(round(value, 3))
        case dict():
            return "{" + ", ".join([f'"{name}": {_json(member)}' for name, member in value.items()]) + "}"
        case list():
            return "[" + ", ".join([_json(member) for member in value]) + "]"
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    import json

    return json.dumps(value)


# in


def read(path: str) -> Status:
    """What a pass has told. Raises OSError, and ValueError for what is not to the letter what we write."""
    return parse(notes.read(path, LONGEST))


def parse(content: bytes) -> Status:
    """Raises ValueError."""
    import json

    try:
        found = json.loads(content.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not what we write") from error
    top = _Table(found)
    if top.number("format", int) != FORMAT:
        raise ValueError("it is of another version of smartrelay")
    a_pass, totals, bad, space = (top.table(name) for name in ("pass", "totals", "bad_hosts", "space"))
    messages, incidents = top.table("messages"), top.table("incidents")
    counted = {name: totals.number(name, int) for name in _COUNTED}
    return Status(
        version=top.text("version"),
        time=top.number("time", float),
        start=a_pass.number("start", float),
        result=a_pass.result("result"),
        totals=Totals(
            **counted,
            success=top.perhaps("last_success", float) or 0.0,
            bad_hosts=bad.number("count", int),
            bad_until=bad.perhaps("until", float) or 0.0,
            work=Work() if top.is_null("work") else _work(top.table("work")),
        ),
        messages=Census(*[_group(messages.table(name)) for name in Census._fields]),
        incidents=Incidents(*[_noted(incidents.table(name)) for name in Incidents._fields]),
        relays=top.perhaps("relays", int),
        offline=top.truth("offline"),
        free=space.perhaps("free", int),
        needed=space.number("needed", int),
    )


def _refuse(word: str) -> None:
    """JSON has no NaN, whatever Python takes."""
    raise ValueError(word)


def _work(table: "_Table") -> Work:
    counts = {name: table.number(name, int) for name in Work._fields[3:]}
    return Work(table.number("start", float), table.number("end", float), table.result("result"), **counts)


def _group(table: "_Table") -> Group:
    return Group(table.number("count", int), table.perhaps("oldest", float))


def _noted(table: "_Table") -> Noted:
    return Noted(table.number("count", int), table.perhaps("since", float), table.texts("relays"))


class _Table:
    """A JSON object of which nothing is believed. All methods raise ValueError."""

    def __init__(self, found: object) -> None:
        if not isinstance(found, dict):
            raise ValueError("it is not a table where one is due")
        self._found = found

    def _get(self, name: str) -> Any:
        if name not in self._found:
            raise ValueError(f"it has no {name}")
        return self._found[name]

    def table(self, name: str) -> "_Table":
        return _Table(self._get(name))

    def is_null(self, name: str) -> bool:
        return self._get(name) is None

    def number(self, name: str, kind: type) -> Any:
        value = self._get(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (kind is float and isinstance(value, float))) or not 0 <= value < _LARGEST:
            raise ValueError(f"its {name} is no number that can be")
        return kind(value)

    def perhaps(self, name: str, kind: type) -> Any:
        return None if self.is_null(name) else self.number(name, kind)

    def truth(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise ValueError(f"its {name} is neither true nor false")
        return value

    def text(self, name: str) -> str:
        return _plain(self._get(name), name)

    def result(self, name: str) -> str:
        value = self.text(name)
        if value not in RESULTS:
            raise ValueError(f"its {name} is none that a pass has")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._get(name)
        if not isinstance(value, list) or len(value) > NAMED:
            raise ValueError(f"its {name} are no list")
        return tuple(_plain(each, name) for each in value)


def _plain(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"its {name} is no text")
    return value
