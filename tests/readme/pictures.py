"""The picture of a queue in the README: real code at 80 columns on messages that a host may have. `python -m
tests.readme.pictures` prints it."""

import io
import os
from unittest import mock

from smartrelay.cli import table
from smartrelay.cli.rows import Row
from tests.support.rows import NOW, row

_GREYLISTED = "host mx1.example.net[192.0.2.25]:25 said: 450 4.7.1 greylisted"
_REFUSED = "connect to smtp.example.org[192.0.2.1]:587: connection refused"
_FULL = "host mx.example.com[198.51.100.7]:25 said: 452 4.2.2 mailbox full"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class _Terminal(io.StringIO):
    encoding = "utf-8"


def _rows() -> list[Row]:
    return [
        row("backup@example.org", ("ops@example.org", ""), one="25WYX30QHC3RM2KPF", state="held", old=2 * _DAY, octets=48_211),
        row(
            "shop@example.org",
            ("ada@example.com", _FULL),
            one="25X1MQ7V0W9QYPFC4",
            old=5 * _HOUR,
            due=47 * _MINUTE,
            octets=9_432,
        ),
        row("", ("bounces@example.net", _GREYLISTED), one="25X2D8H4TT1C0SXKR", old=12 * _MINUTE, due=3 * _MINUTE, octets=3_120),
        row(
            "root@example.org",
            ("you@example.org", _REFUSED),
            one="25X2F3G6NQK8Y7B1J",
            old=4 * _MINUTE,
            due=40,
            octets=1_733_000,
        ),
        row("www-data@example.org", ("bob@example.net", ""), one="25X2H0LCH4YW6D3GW", state="new", due=0, old=1, octets=812),
    ]


def queue_list() -> str:
    """What `smartrelay queue list` shows of them."""
    terminal = _Terminal()
    with mock.patch.dict(os.environ, {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}):
        table.write_table(iter(_rows()), None, NOW, terminal)
    return terminal.getvalue()


if __name__ == "__main__":
    print(queue_list(), end="")
