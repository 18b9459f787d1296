"""The bad-host memory as a table, for people."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smartrelay import duration
from smartrelay.routing.bad_hosts import BadHost


def write_table(found: Sequence[BadHost]) -> None:
    """One row a host, as wide as the terminal."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("Host", overflow="ellipsis", no_wrap=True)
    for name in ("Bad for", "Failures", "Next probe", "For another"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Why", overflow="ellipsis", no_wrap=True, ratio=1)
    now = time.time()
    for host in found:
        table.add_row(
            escape(host.key),
            duration.short(now - host.since),
            str(host.failures),
            "now" if host.probe <= now else duration.short(host.probe - now),
            duration.short(host.until - now),
            escape(host.reason),
        )
    if found:
        console.print(table)
    console.print(f"{len(found)} host{'' if len(found) == 1 else 's'}" if found else "No host is known to be bad.")
