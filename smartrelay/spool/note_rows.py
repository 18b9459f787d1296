"""Notes in `var/` that are rows of one kind, as JSON: `{"v": 1, NAME: [...]}`. Where there is no row there is no file.

A module of its own, for an idle pass reads other notes and does without JSON's.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from smartrelay.spool import notes
from smartrelay.spool.durable import remove


def read(path: str, longest: int, name: str) -> list[object]:
    """What `write` has written there. Raises OSError, and ValueError or RecursionError for what it has not."""
    match json.loads(notes.read(path, longest)):
        case {"v": 1, **members}:
            rows = members.get(name)
            if isinstance(rows, list):
                return rows
    raise ValueError("no such rows, or of another version")


def write(path: str, name: str, rows: Iterable[NamedTuple]) -> None:
    """Puts these in the place of the file, a line for each. Raises OSError."""
    lines = [json.dumps(row._asdict()) for row in rows]
    if not lines:
        remove(path)
        return
    text = ",\n".join(lines)
    notes.write(path, f'{{"v": 1, "{name}": [\n{text}\n]}}\n'.encode("ascii"))
