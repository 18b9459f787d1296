"""Text in the cells of a terminal: characters may be two cells wide, or none.

Whatever is passed in is printable and on one line (`mail.status.visible`).
"""

from typing import NamedTuple

from rich.cells import cell_len as wide

__all__ = ["Style", "address", "cut", "filled", "left", "right", "wide"]

wide("\u7530")  # loads its table of widths while root can: the interpreter may lie where the spool's owner cannot read it

_LEAST = 4
"""Cells of the local part that are left before the domain is cut, too."""


class Style(NamedTuple):
    """What a terminal can show. width: cells in a line. colour: whether it may be coloured; dots: what stands for what is left
    out."""

    width: int
    colour: bool
    dots: str

    def paint(self, text: str, code: str) -> str:
        """`text` in this colour (the parameter of SGR, ECMA-48); "" for the terminal's own."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text


def cut(text: str, width: int, dots: str) -> str:
    """The beginning of the text, in at most so many cells."""
    if len(text) <= width // 2 or wide(text) <= width:
        return text
    return _head(text, max(0, width - len(dots))) + dots[:width]


def address(text: str, width: int, dots: str) -> str:
    """An address in at most so many cells: what is left out is of the local part, where that is enough."""
    if wide(text) <= width:
        return text
    local, _, domain = text.rpartition("@")
    room = width - wide(domain) - 1
    return f"{cut(local, room, dots)}@{domain}" if local and room >= _LEAST else cut(text, width, dots)


def left(text: str, width: int) -> str:
    """The text with blanks behind it up to this width."""
    return text + " " * (width - wide(text))


def right(text: str, width: int) -> str:
    """The text with blanks before it up to this width."""
    return " " * (width - wide(text)) + text


def filled(text: str, width: int, lines: int, dots: str) -> list[str]:
    """The text in at most so many lines, broken at blanks where there are any; the last is cut."""
    found: list[str] = []
    while wide(text) > width and len(found) < lines - 1:
        line = _head(text, width)
        words = line if text[len(line) : len(line) + 1] == " " else line.rpartition(" ")[0] or line
        found.append(words.rstrip())
        text = text[len(words) :].lstrip()
    return [*found, cut(text, width, dots)]


def _head(text: str, width: int) -> str:
    """As much of the beginning as fits."""
    room = width
    for place, char in enumerate(text):
        room -= wide(char)
        if room < 0:
            return text[:place]
    return text
