"""What a crash, or another hand, has left in the spool: swept where nobody can miss it, set aside where somebody may."""

import os
from collections.abc import Callable

from smartrelay.spool import names, queue_id
from smartrelay.spool.durable import sync_directory

WRITER_LIFE = 86400
"""Seconds a writer may take for a draft (an SMTP session of a day would be one)."""

OSSIFIED = 36 * 3600
"""Seconds after which a draft is swept; must exceed WRITER_LIFE, so that no living writer loses its file."""

Warn = Callable[[str], None]


def sweep(spool: str, now: float) -> None:
    """Removes drafts that no living writer has, and journals whose message is gone. now: Unix seconds."""
    for name in os.listdir(f"{spool}/tmp"):
        path = f"{spool}/tmp/{name}"
        try:
            if os.stat(path, follow_symlinks=False).st_mtime < now - OSSIFIED:
                os.unlink(path)
        except OSError:
            continue
    orphans = set(os.listdir(f"{spool}/state"))
    # `new` twice: a message that goes from cur back to new between two looks is seen by one of them
    for directory in (names.NEW, names.CUR, names.HOLD, names.CORRUPT, names.CUR, names.NEW):
        if not orphans:
            return
        orphans.difference_update(name[: queue_id.LENGTH] for name in os.listdir(f"{spool}/{directory}"))
    sync_directory(f"{spool}/{names.CUR}")
    for name in orphans:
        if queue_id.is_valid(name):
            try:
                os.unlink(f"{spool}/state/{name}")
            except OSError:
                continue  # an operator's `delete` was quicker, or it is no file


def set_aside(spool: str, directory: str, name: str, why: str, warn: Warn) -> None:
    """Moves a file that is no message to `corrupt/`, and says so in a sentence to `warn` (law 6)."""
    target, number = f"{spool}/{names.CORRUPT}/{name}", 0
    while os.path.lexists(target):  # what lies there already is never overwritten
        number += 1
        target = f"{spool}/{names.CORRUPT}/{name}.{number}"
    try:
        os.rename(f"{spool}/{directory}/{name}", target)
    except FileNotFoundError:
        return
    # names and reasons come from whoever made the file: the log gets them in ASCII
    shown = ascii(f"{target}: {why}")[1:-1]
    warn(f"set aside as {shown}; look at it, then delete it or put it right and move it to {names.NEW}/")
