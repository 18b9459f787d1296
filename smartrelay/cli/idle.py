"""Whether there is nothing for a pass to do: so it is for most passes of most machines, every minute of every day.

It is told from the names in the spool, before anything is loaded that a pass would need.
"""

import os
import time

from smartrelay.spool import names
from smartrelay.spool.access import FORMAT


def waiting(spool: str, horizon: float) -> int | None:
    """How many messages wait, None when there is something to do; looked up with the rights of the spool's owner.

    Raises OSError where that cannot be found out.
    """
    root = os.geteuid() == 0
    try:
        if root:
            status = os.stat(spool)
            os.setegid(status.st_gid)
            os.seteuid(status.st_uid)
        with open(f"{spool}/format", "rb") as file:
            if file.read(len(FORMAT) + 1) != FORMAT:
                return None
        return names.idle(spool, time.time(), horizon)
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
