"""What the crash tests put into a spool, and what must have come of it in the end."""

from typing import NamedTuple

AUTHOR = "author@example.org"
GONE = "gone@example.org"
"""A sender whose address is refused: notices to it are bounces of bounces."""

Told = tuple[str, str, str]
"""Who is told what ("failed", "expired", "delayed", "relayed") of whom."""


class Fate(NamedTuple):
    """A message: its sender and recipients, NOTIFY, and how many seconds ago it came in."""

    sender: str
    recipients: list[str]
    notify: str = ""
    age: float = 0.0


class Plot(NamedTuple):
    """A scene's messages by subject, and what must have come of them in the end. settings: more of the configuration.

    An address says what becomes of it: bad is refused for good, later is put off until the server has recovered, turns-bad is
    put off and then refused.
    """

    fates: dict[str, Fate]
    delivered: set[tuple[str, str]]
    told: set[Told]
    settings: tuple[str, str] = ("", "")


FATES = Plot(
    {
        "delivered": Fate(AUTHOR, ["ok1@a.example"]),
        "deferred": Fate(AUTHOR, ["later1@a.example"]),
        "mixed": Fate(AUTHOR, ["ok2@a.example", "bad1@a.example", "later2@a.example"]),
        "failed": Fate(AUTHOR, ["bad2@a.example", "bad3@a.example"]),
        "failed-twice": Fate(AUTHOR, ["bad4@a.example", "turns-bad@a.example"]),
        "strayed": Fate(GONE, ["bad5@a.example"]),
        "two": Fate(AUTHOR, ["ok3@a.example", "ok4@a.example"]),
    },
    {
        ("delivered", "ok1@a.example"),
        ("deferred", "later1@a.example"),
        ("mixed", "ok2@a.example"),
        ("mixed", "later2@a.example"),
        ("two", "ok3@a.example"),
        ("two", "ok4@a.example"),
    },
    {(AUTHOR, "failed", f"{name}@a.example") for name in ("bad1", "bad2", "bad3", "bad4", "turns-bad")},
)

POSTMASTER = "admin@a.example"
OLD, TOO_OLD = 3600.0, 2 * 3600.0
"""Seconds: later than `warn_after`, and than `lifetime`."""

NOTICES = Plot(
    {
        "expired": Fate(AUTHOR, ["later1@a.example"], age=TOO_OLD),
        "late": Fate(AUTHOR, ["later2@a.example"], age=OLD),
        "asked": Fate(AUTHOR, ["ok1@a.example"], "success"),
        "of all kinds": Fate(AUTHOR, ["bad2@a.example", "later3@a.example", "ok2@a.example"], "success,failure,delay", OLD),
        "unwanted": Fate(AUTHOR, ["bad3@a.example"], "never"),
        "a bounce of a bounce": Fate(GONE, ["bad4@a.example"]),
    },
    {
        ("late", "later2@a.example"),
        ("asked", "ok1@a.example"),
        ("of all kinds", "later3@a.example"),
        ("of all kinds", "ok2@a.example"),
    },
    {
        (AUTHOR, "expired", "later1@a.example"),
        (AUTHOR, "delayed", "later2@a.example"),
        (AUTHOR, "relayed", "ok1@a.example"),
        (AUTHOR, "failed", "bad2@a.example"),
        (AUTHOR, "delayed", "later3@a.example"),
        (AUTHOR, "relayed", "later3@a.example"),
        (AUTHOR, "relayed", "ok2@a.example"),
        (POSTMASTER, "failed", GONE),
    },
    (f'postmaster = "{POSTMASTER}"\n', 'warn_after = ["30m"]\nlifetime = "90m"\n'),
)
