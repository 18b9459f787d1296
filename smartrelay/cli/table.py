"""The queue as a table, for people."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from smartrelay import duration
from smartrelay.cli.listing import reason
from smartrelay.spool.listing import Entry

_COLOURS = {"new": "green", "waiting": "yellow", "held": "magenta"}


def write_table(found: Iterable[Entry]) -> None:
    """One row a message, as wide as the terminal."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name, options in (
        ("ID", {"no_wrap": True}),
        ("Age", {"justify": "right", "no_wrap": True}),
        ("Size", {"justify": "right", "no_wrap": True}),
        ("State", {"no_wrap": True}),
        ("Next", {"justify": "right", "no_wrap": True}),
        ("From", {"overflow": "ellipsis", "no_wrap": True, "ratio": 2}),
        ("To", {"overflow": "ellipsis", "no_wrap": True, "ratio": 2}),
        ("Why it waits", {"overflow": "ellipsis", "no_wrap": True, "ratio": 3}),
    ):
        table.add_column(name, **options)
    now, count = time.time(), 0
    for entry in found:
        count += 1
        table.add_row(*_row(entry, now), style=_COLOURS[entry.state] if entry.state == "held" else None)
    if count:
        console.print(table)
    console.print(f"{count} message{'' if count == 1 else 's'}" if count else "The queue is empty.")


def _row(entry: Entry, now: float) -> list[str]:
    from rich.markup import escape

    envelope, history = entry.envelope, entry.history
    waiting = history.waiting
    to = envelope.recipients[waiting[0]].address if waiting else ""
    more = f" +{len(waiting) - 1}" if len(waiting) > 1 else ""
    last = next((status for index in waiting if (status := history.last[index]) is not None), None)
    coming = "now" if entry.due <= now else duration.short(entry.due - now)
    return [
        entry.queue_id,
        duration.short(now - envelope.arrived),
        short_size(envelope.facts.octets),
        f"[{_COLOURS[entry.state]}]{entry.state}[/]",
        "-" if entry.state == "held" else coming,
        escape(envelope.reverse_path or "<>"),
        escape(to + more),
        escape(reason(last)) if last else "not tried yet",
    ]


def short_size(octets: int) -> str:
    """A size in its largest unit."""
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if octets >= size:
            return f"{octets / size:.1f}{unit}" if octets < 10 * size else f"{octets // size}{unit}"
    return str(octets)
