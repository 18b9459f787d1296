"""Plain calls are told from all others, which are for the parser."""

import pytest

from smartrelay.cli import plain

FLAGS = frozenset({"-q", "--quiet", "--json"})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("flush", {}),
        ("--config c flush --json -q", {"--config": "c", "--json": "", "-q": ""}),
        ("-q flush --spool=s --wait 5s", {"-q": "", "--spool": "s", "--wait": "5s"}),
    ],
)
def test_plain(line: str, found: dict[str, str]) -> None:
    assert plain.options(line.split(), ["flush"], FLAGS) == found


@pytest.mark.parametrize(
    "line",
    ["", "flush x", "flush --all", "flush -v", "--json flush", "--wait 1s flush", "flush --config", "flush --config=",
     "-- flush", "flush -qq", "queue list", "flush flush"],
)  # fmt: skip
def test_not_plain(line: str) -> None:
    assert plain.options(line.split(), ["flush"], FLAGS) is None
