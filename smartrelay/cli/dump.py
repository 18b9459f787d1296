"""The whole queue as JSON lines, for the programs that ask for it every minute: `smartrelay queue list --json`.

It loads neither the command line's parser nor what a closer look at a message takes, unless there is one that needs it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smartrelay import settings
from smartrelay.cli import plain
from smartrelay.cli.caller import Common
from smartrelay.cli.ending import ended
from smartrelay.cli.expiry import Expiry, expiry
from smartrelay.spool import access, names
from smartrelay.spool.glance import Glance, Place, corrupt, glance, walk

if TYPE_CHECKING:
    from smartrelay.spool.listing import Entry

NULL_SENDER = "MAILER-DAEMON"
_FLAGS = frozenset({"--json", "-q", "--quiet"})


def dumped(arguments: list[str]) -> int | None:
    """The exit code, if these arguments ask for the whole queue as JSON and nothing else; else None, and nothing is done."""
    options = plain.options(arguments, ["queue", "list"], _FLAGS)
    if options is None or "--json" not in options or "--wait" in options:
        return None
    common = plain.common(options)
    return ended(lambda: _dump(common))


def _dump(common: Common) -> None:
    known = expiry(common)
    if os.geteuid() == 0 and access.changes_owner(settings.load(common.config, common.spool).spool):
        # the interpreter may lie where the spool's owner cannot read it
        import smartrelay.cli.listing  # noqa: F401
    spool = common.enter_spool().spool
    write(spool, known)
    tell_set_aside(common, spool)


def tell_set_aside(common: Common, spool: str) -> None:
    """Names what a person should look at, behind a listing."""
    sys.stdout.flush()
    for name in corrupt(spool):
        common.say(f"set aside, for you to look at: {spool}/{names.CORRUPT}/{name}")


def write(spool: str, expiry: Expiry | None, *, long: int = 2000) -> None:
    """One object a line; nothing for an empty queue. Of a queue of `long` messages another process looks at one half.
    expiry: by which mail is given up, None where that is not known."""
    places = list(walk(spool))
    half = len(places) // 2 if len(places) >= long else len(places)
    with _beside(spool, places[half:], expiry) as lines_of_the_rest:
        for place in places[:half]:
            sys.stdout.write(_line(spool, place, expiry))
        for block in lines_of_the_rest():
            sys.stdout.write(block)


@contextmanager
def _beside(spool: str, places: list[Place], expiry: Expiry | None) -> Iterator[Callable[[], Iterator[str]]]:
    """Has another process make the lines of these messages; what it yields waits for them and gives them in blocks."""
    if not places:
        yield lambda: iter(())
        return
    with open(os.memfd_create("queue"), "w+", encoding="utf-8") as file:
        other = os.fork()
        if not other:
            code = 1
            try:
                file.writelines(_line(spool, place, expiry) for place in places)
                file.flush()
                code = 0
            finally:
                os._exit(code)

        def blocks() -> Iterator[str]:
            _, status = os.waitpid(other, 0)
            if status:  # whatever has killed it
                yield from (_line(spool, place, expiry) for place in places)
                return
            file.seek(0)
            while block := file.read(1 << 16):
                yield block

        yield blocks


def _line(spool: str, place: Place, expiry: Expiry | None) -> str:
    seen: Glance | Entry | None = glance(spool, place)
    if seen is None:
        from smartrelay.spool import listing

        seen = listing.readable(spool, place)
    return as_line(seen, expiry) if seen is not None else ""


def as_line(seen: "Glance | Entry", expiry: Expiry | None) -> str:
    """A message as a line of JSON."""
    if isinstance(seen, Glance):
        return as_text(seen, expiry) + "\n"
    from smartrelay.cli import listing as closely

    return closely.as_line(seen, expiry)


def as_text(seen: Glance, expiry: Expiry | None) -> str:
    """What `listing.as_object` and an encoder make of the same message."""
    expires = "null" if expiry is None else expiry.at(seen.arrived, seen.marks)
    reason = f"host {seen.host} said: {seen.text}" if seen.code != "0" else seen.text
    return (
        f'{{"queue_name": "deferred", "queue_id": "{seen.queue_id}", "arrival_time": {int(seen.arrived)}, '
        f'"message_size": {seen.octets}, "forced_expire": false, "sender": "{seen.sender or NULL_SENDER}", '
        f'"recipients": [{{"address": "{seen.recipient}", "delay_reason": "{reason}", "status": "deferred", '
        f'"dsn": "{seen.dsn}", "host": {_or_null(seen.host)}}}], "next_attempt": {seen.due}, "expires": {expires}, '
        f'"attempts": {len(seen.marks)}, "relay": {_or_null(seen.relay)}}}'
    )


def _or_null(text: str) -> str:
    return f'"{text}"' if text else "null"
