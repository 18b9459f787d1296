"""Which messages a pass has in hand, without a lock: whoever tried one would take it from a worker for that moment."""

import os

from smartrelay.spool import names

_LOCKS = "/proc/locks"


def in_hand(spool: str, table: str = _LOCKS) -> frozenset[str]:
    """The ids of those that are delivered right now, as the kernel's table of locks says (proc_locks(5)); none where it does
    not tell. Raises OSError for a spool that cannot be looked into."""
    locked = _locked(table)
    if not locked:
        return frozenset()
    with os.scandir(f"{spool}/{names.CUR}") as entries:
        found = [names.split(entry.name) for entry in entries if str(entry.inode()) in locked]
    return frozenset(parts[0] for parts in found if parts is not None)


def _locked(table: str) -> frozenset[str]:
    """The inodes that somebody has flocked, on whatever device: btrfs shows another one there than to stat(2)."""
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return frozenset()
    return frozenset(row[5].rpartition(":")[2] for row in rows if len(row) == 8 and row[1] == "FLOCK")
