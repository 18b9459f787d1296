"""The queue as a table, for people: as wide as the terminal, and a row as soon as it is known."""

import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple, TextIO

from smartrelay import duration
from smartrelay.cli.cells import Style, address, cut, filled, left, right, wide
from smartrelay.cli.expiry import Expiry
from smartrelay.cli.rows import Row

_FIRST = 300
"""Rows that are looked at before the first is shown: they decide how wide the columns are."""

_WIDE = 120
"""Cells from which on the reason has a column of its own, whatever else is cut."""

_GAP = "  "
_GREEN, _YELLOW, _RED, _MAGENTA, _DIM, _BOLD = "32", "33", "31", "35", "2", "1"
_STATES = {"new": _GREEN, "waiting": "", "held": _MAGENTA}
_NOT_TRIED = "not tried yet"


class _Columns(NamedTuple):
    """Cells for each. why: 0 where the reason stands below the rest."""

    age: int
    size: int
    state: int
    sender: int
    to: int
    why: int


_ID = 17


def style_of(stream: TextIO) -> Style:
    """What the terminal behind this stream can show. NO_COLOR (no-color.org) and a dumb terminal mean no colours."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    try:
        "…".encode(stream.encoding)
        dots = "…"
    except UnicodeEncodeError:
        dots = ".."
    return Style(max(shutil.get_terminal_size().columns, 40), not plain, dots)


def write_table(found: Iterable[Row], expiry: Expiry | None, now: float, stream: TextIO) -> None:
    """The rows, then how many there are. expiry: by which an age is judged, None where that is not known."""
    style = style_of(stream)
    coming = iter(found)
    first = list(islice(coming, _FIRST))
    total = _Total()
    if first:
        table = _Table(_columns(first, now, style.width, more=len(first) == _FIRST), expiry, now, style)
        stream.write(table.head())
        counted = map(total.count, chain(first, coming))
        while lines := "".join(map(table.lines, islice(counted, 200))):
            stream.write(lines)
            stream.flush()
    stream.write(total.sentence())


def _columns(rows: Iterable[Row], now: float, width: int, *, more: bool) -> _Columns:
    """How wide the columns are that hold these rows, and maybe more."""
    cells = [(_age(row, now), short_size(row.octets), _state(row, now), _sender(row), _to(row), _why(row)) for row in rows]
    heads = ("Age", "Size", "State", "From", "To", "Why it waits")
    natural = [max(map(wide, (head, *column))) for head, column in zip(heads, zip(*cells, strict=True), strict=True)]
    if more:  # what has not been seen may be wider
        natural = [max(at_least, found) for at_least, found in zip((4, 5, 6, 24, 24, 40), natural, strict=True)]
    age, size, state, sender, to, why = natural
    room = width - _ID - age - size - state - 4 * len(_GAP)
    if sender + to + why + 2 * len(_GAP) <= room or width >= _WIDE:
        sender, to, why = _shared(room - 2 * len(_GAP), (sender, to, why), (1, 1, 2))
        return _Columns(age, size, state, sender, to, why)
    sender, to = _shared(room - len(_GAP), (sender, to), (1, 1))
    return _Columns(age, size, state, sender, to, 0)


def _shared(room: int, wanted: Sequence[int], weights: Sequence[int]) -> list[int]:
    """So many cells among columns: none gets more than it wants while another has less than that and than its share."""
    widths = [0] * len(wanted)
    rest = sum(weights)
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index] / weights[index]):
        widths[index] = min(wanted[index], max(1, room * weights[index] // rest))
        room -= widths[index]
        rest -= weights[index]
    return widths


class _Table:
    """Rows as lines of a terminal."""

    def __init__(self, columns: _Columns, expiry: Expiry | None, now: float, style: Style) -> None:
        self._columns = columns
        self._expiry = expiry
        self._now = now
        self._style = style

    def head(self) -> str:
        """The line above the rows."""
        columns, style = self._columns, self._style
        cells = [left("ID", _ID), right("Age", columns.age), right("Size", columns.size), left("State", columns.state)]
        cells += [left(cut("From", columns.sender, style.dots), columns.sender), left("To", columns.to)]
        cells += [cut("Why it waits", columns.why, style.dots)] if columns.why else []
        return style.paint(_GAP.join(cells).rstrip(), _BOLD) + "\n"

    def lines(self, row: Row) -> str:
        """One row: a line, and where the reason has no column of its own up to two more."""
        columns, style = self._columns, self._style
        sender, to = address(_sender(row), columns.sender, style.dots), self._recipients(row)
        cells = [
            row.queue_id,
            style.paint(right(_age(row, self._now), columns.age), self._urgency(row)),
            right(short_size(row.octets), columns.size),
            style.paint(left(_state(row, self._now), columns.state), _STATES[row.state]),
            left(sender, columns.sender),
        ]
        colour = _RED if row.ours else "" if row.reason else _DIM
        if columns.why:
            cells += [left(to, columns.to), style.paint(cut(_why(row), columns.why, style.dots), colour)]
            return _GAP.join(cells) + "\n"
        line = _GAP.join((*cells, to)) + "\n"
        if not row.reason:
            return line
        why = filled(row.reason, style.width - 4, 2, style.dots)
        return line + "".join(f"    {style.paint(each, colour or _DIM)}\n" for each in why)

    def _recipients(self, row: Row) -> str:
        more = f" +{len(row.waiting) - 1}" if len(row.waiting) > 1 else ""
        return address(row.addressee, max(1, self._columns.to - len(more)), self._style.dots) + more

    def _urgency(self, row: Row) -> str:
        """How much of its lifetime is over: yellow from a quarter of it on, red from three quarters on."""
        if self._expiry is None or not self._style.colour:
            return ""
        over = row.age(self._expiry) / self._expiry.lifetime if self._expiry.lifetime else 1.0
        return _RED if over >= 0.75 else _YELLOW if over >= 0.25 else ""


def _age(row: Row, now: float) -> str:
    return duration.short(now - row.arrived)


def _state(row: Row, now: float) -> str:
    """What becomes of it, and when: its state and its next attempt in one word or two."""
    if row.state != "waiting":
        return row.state
    return "due" if row.due <= now else f"in {duration.short(row.due - now)}"


def _sender(row: Row) -> str:
    return row.sender or "<>"


def _to(row: Row) -> str:
    return row.addressee + (f" +{len(row.waiting) - 1}" if len(row.waiting) > 1 else "")


def _why(row: Row) -> str:
    return row.reason or _NOT_TRIED


class _Total:
    """What stands below the table."""

    def __init__(self) -> None:
        self._octets = 0
        self._states: dict[str, int] = {}

    def count(self, row: Row) -> Row:
        self._octets += row.octets
        self._states[row.state] = self._states.get(row.state, 0) + 1
        return row

    def sentence(self) -> str:
        count = sum(self._states.values())
        if not count:
            return "The queue is empty.\n"
        states = ", ".join(f"{self._states[state]:,} {state}" for state in _STATES if state in self._states)
        return f"{count:,} message{'' if count == 1 else 's'}, {short_size(self._octets)}: {states}\n"


def short_size(octets: int) -> str:
    """A size in its largest unit."""
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if octets >= size:
            return f"{octets / size:.1f}{unit}" if octets < 10 * size else f"{octets // size}{unit}"
    return str(octets)
