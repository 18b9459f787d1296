"""Spans of time as people write them: "90s", "5m", "1h30m", "5d"."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
YEAR = 52 * 604800.0
_PATTERN = re.compile(r"(?:\d+[smhdw])+")
_PART = re.compile(r"(\d+)([smhdw])")


def parse(text: str) -> float:
    """Seconds in a span of time. Raises ValueError with what would be right."""
    cleaned = text.strip().lower()
    if not _PATTERN.fullmatch(cleaned):
        raise ValueError(f"{text!a} is no span of time; write for example 30s, 5m, 2h or 5d")
    try:
        return float(sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(cleaned)))
    except (OverflowError, ValueError):  # more digits than an int or a float is made of
        raise ValueError(f"{text[:20]!a}... is longer than any time") from None


def exact(seconds: float) -> str:
    """A whole number of seconds, as `parse` reads it, in the largest unit that has no remainder: "90s", "1h", "14d"."""
    unit, size = max(((unit, size) for unit, size in _UNITS.items() if seconds % size == 0), key=lambda each: each[1])
    return f"{int(seconds // size)}{unit}"


def short(seconds: float) -> str:
    """A span of time in its largest unit, for tables: "12s", "5m", "3h", "2d"."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
