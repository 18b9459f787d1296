"""Rows of a listing, made by hand."""

from smartrelay.cli.rows import Row
from smartrelay.spool.glance import Glance

NOW = 1_800_000_000.0
ONE = "25X0LCH4YW6W9QYPF"


def row(
    sender: str = "s@example.org",
    *waiting: tuple[str, str],
    one: str = ONE,
    state: str = "waiting",
    due: float = 300.0,
    old: float = 60.0,
    octets: int = 1000,
    ours: bool = False,
) -> Row:
    """A message that arrived `old` seconds before NOW and is due so many seconds after it."""
    waiting = waiting or (("r@example.net", ""),)
    at = int(NOW + due) if state == "waiting" else 0
    seen = Glance(one, at, NOW - old, str(octets), sender, waiting[0][0], [], "", "4.0.0", waiting[0][1], "0", "")
    addresses = tuple(address for address, _ in waiting)
    return Row(one, state, at, NOW - old, octets, sender, addresses, waiting, ours, seen)
