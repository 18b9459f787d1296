"""Which messages an operator means: ids, filters, all."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import click

from smartrelay.cli import suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.options import Duration
from smartrelay.cli.rows import Row, of_entry
from smartrelay.errors import UsageError
from smartrelay.spool import listing, queue_id
from smartrelay.spool.listing import Entry, entries
from smartrelay.spool.trouble import CorruptMessage, NoSuchMessage

_F = TypeVar("_F", bound=Callable[..., Any])
_GLOB: dict[str, Any] = {"metavar": "GLOB", "default": ""}
STATES = ("new", "waiting", "held")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a message must be like; globs match without case, "<>" is the null sender."""

    state: str = ""
    sender: str = ""
    recipient: str = ""
    older_than: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.state or self.sender or self.recipient or self.older_than)

    def of(self, found: Iterable[Row], now: float) -> Iterable[Row]:
        """The rows that match. now: Unix seconds."""
        return (row for row in found if self.fit(row, now)) if self else found

    def fit(self, row: Row, now: float) -> bool:
        """Whether a message is meant."""
        return (
            (not self.state or row.state == self.state)
            and (not self.sender or _matches(row.sender or "<>", self.sender))
            and (not self.recipient or any(_matches(address, self.recipient) for address in row.recipients))
            and (not self.older_than or row.arrived <= now - self.older_than)
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The messages that were meant, in the spool where they are."""

    spool: str
    ids: list[str]


def _matches(address: str, glob: str) -> bool:
    return fnmatchcase(address.lower(), glob.lower())


def filter_options(function: _F) -> _F:
    """Adds the filters; the command gets them as `filters`."""

    def wrapper(*args: Any, state: str | None, sender: str, recipient: str, older_than: float, **kwargs: Any) -> Any:
        return function(*args, filters=Filters(state or "", sender, recipient, older_than), **kwargs)

    wrapper.__name__, wrapper.__doc__ = function.__name__, function.__doc__
    for option in (
        click.option("--older-than", type=Duration(), default=0.0, metavar="DURATION", help="Only mail older than this."),
        click.option(
            "--recipient", metavar="GLOB", default="", shell_complete=suggest.recipients, help="Only mail for such a recipient."
        ),
        click.option(
            "--sender",
            metavar="GLOB",
            default="",
            shell_complete=suggest.senders,
            help="Only mail from such an envelope sender.",
        ),
        click.option("--state", type=click.Choice(STATES), help="Only mail in this state."),
    ):
        wrapper = option(wrapper)
    if hasattr(function, "__click_params__"):
        wrapper.__click_params__ = [*function.__click_params__, *wrapper.__click_params__]  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def select(
    common: Common,
    ids: tuple[str, ...],
    filters: Filters,
    *,
    everything: bool,
    but: tuple[str, ...] = (),
    each: Callable[[Entry], None] | None = None,
) -> Chosen:
    """The messages that ids, filters or --all mean. but: states that a bulk never means. each: is shown every message that is
    meant and can be read. Raises UsageError for none."""
    if ids and (everything or filters):
        raise UsageError("name ids, or use --all or filters, not both")
    if not ids and not everything and not filters:
        raise UsageError("name ids, or say which messages by --all, --state, --sender, --recipient or --older-than")
    if ids:
        words = [word for one in ids for word in (sys.stdin.read().split() if one == "-" else [one])]
        wanted = list(dict.fromkeys(map(queue_id.parse, words)))
        spool = common.enter_spool().spool
        if each is not None:
            for entry in _readable(spool, wanted):
                each(entry)
        return Chosen(spool, wanted)
    spool, found, now = common.enter_spool().spool, [], time.time()
    for entry in entries(spool):
        if entry.state not in but and filters.fit(of_entry(entry), now):
            found.append(entry.queue_id)
            if each is not None:
                each(entry)
    return Chosen(spool, found)


def _readable(spool: str, ids: Iterable[str]) -> Iterator[Entry]:
    """Those of these messages that can be read; what is wrong with the others is said by who acts on them."""
    for one in ids:
        try:
            yield listing.entry(spool, one)
        except (NoSuchMessage, CorruptMessage):
            continue
