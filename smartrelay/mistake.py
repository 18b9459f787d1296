"""What is wrong with a configuration, in words that say what was meant: loaded where something is."""

import difflib
from collections.abc import Iterable, Mapping


def unknown_key(key: str, known: Iterable[str], places: Mapping[str, Iterable[str]]) -> str:
    """The end of a sentence about a key that is none of those `known` in its table. places: where else there are which keys,
    the likeliest first: TOML takes whatever stands below a table's head for that table's."""
    names = sorted(known)
    near = difflib.get_close_matches(key.lower(), names, n=1)
    place = next((where for where, there in places.items() if key in there), "")
    if place:
        return f"is not a known key here; it belongs {place}"
    right = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return f"is not a known key; {right}"


def no_toml(error: ValueError | RecursionError) -> str:
    """What keeps a file from being read as TOML, with the line where that is known."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"it is not in UTF-8 (at line {line})"
    return str(error)
