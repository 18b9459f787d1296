"""The whole queue as JSON lines, for the programs that ask for it every minute: `smartrelay queue list --json`.

It loads neither the command line's parser nor what a closer look at a message takes, unless there is one that needs it.
"""

import os
import sys

from smartrelay.cli import plain
from smartrelay.cli.caller import Common
from smartrelay.cli.ending import ended
from smartrelay.spool import names
from smartrelay.spool.glance import Glance, glance, walk

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
    spool = common.enter_spool().spool
    write(spool)
    sys.stdout.flush()
    for name in sorted(os.listdir(f"{spool}/{names.CORRUPT}")):
        common.say(f"set aside, for you to look at: {spool}/{names.CORRUPT}/{name}")


def write(spool: str) -> None:
    """One object a line; nothing for an empty queue."""
    for place in walk(spool):
        seen = glance(spool, place)
        if seen is not None:
            sys.stdout.write(as_text(seen) + "\n")
            continue
        from smartrelay.cli import listing as closely
        from smartrelay.spool import listing

        found = listing.readable(spool, place)
        if found is not None:
            closely.write_json([found])


def as_text(seen: Glance) -> str:
    """What `listing.as_object` and an encoder make of the same message."""
    reason = f"host {seen.host} said: {seen.text}" if seen.code != "0" else seen.text
    return (
        f'{{"queue_name": "deferred", "queue_id": "{seen.queue_id}", "arrival_time": {seen.arrived}, '
        f'"message_size": {seen.octets}, "forced_expire": false, "sender": "{seen.sender or NULL_SENDER}", '
        f'"recipients": [{{"address": "{seen.recipient}", "delay_reason": "{reason}", "status": "deferred", '
        f'"dsn": "{seen.dsn}", "host": {_or_null(seen.host)}}}], "next_attempt": {seen.due}, "expires": null, '
        f'"attempts": {seen.attempts}, "relay": {_or_null(seen.relay)}}}'
    )


def _or_null(text: str) -> str:
    return f'"{text}"' if text else "null"
