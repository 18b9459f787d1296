"""README.md, read as a newcomer uses it: the lines to type, and the blocks to copy."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "README.md")
INSTALL = ("python3 -m venv /opt/smartrelay", "/opt/smartrelay/bin/pip install .")
"""The lines that the fixture `installed` types, for all tests."""

_INDENT = "    "
_COMMENT = re.compile(r"\s{2,}# .*$")
_FENCE = "```"

Test = TypeVar("Test", bound=Callable[..., None])
_LINES = "lines_of_the_readme"


@dataclass(frozen=True)
class Page:
    """lines: what is indented by four, outside fences, without the remark at its end. blocks: language ("" for a picture) and
    text of each fenced block."""

    lines: tuple[str, ...]
    blocks: tuple[tuple[str, str], ...]

    def block(self, word: str) -> str:
        """The text of the only fenced block with this word in it."""
        (found,) = (text for _, text in self.blocks if word in text)
        return found


def read(path: str = PATH) -> Page:
    """The page as it stands."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines: list[str] = []
    blocks: list[tuple[str, str]] = []
    for number, part in enumerate(re.split(rf"^{_FENCE}", text, flags=re.MULTILINE)):
        if number % 2:
            language, _, block = part.partition("\n")
            blocks.append((language, block))
        else:
            lines += (_COMMENT.sub("", line.strip()) for line in part.splitlines() if line.startswith(_INDENT))
    return Page(tuple(lines), tuple(blocks))


def runs(*lines: str) -> Callable[[Test], Test]:
    """Marks a test that types these lines of the README; the fixture `bare` sees to it that it does."""

    def mark(test: Test) -> Test:
        setattr(test, _LINES, lines)
        return test

    return mark


def lines_of(test: object) -> tuple[str, ...]:
    """The lines that a test says it types."""
    found: tuple[str, ...] = getattr(test, _LINES, ())
    return found
