"""Which messages an operator means: ids, filters, all."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import click

from smartrelay.cli.caller import Common
from smartrelay.cli.options import Duration
from smartrelay.errors import UsageError
from smartrelay.spool import queue_id
from smartrelay.spool.listing import Entry, entries

_F = TypeVar("_F", bound=Callable[..., Any])
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

    def of(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """The entries that match."""
        before = time.time() - self.older_than
        for entry in found:
            envelope = entry.envelope
            if (
                (not self.state or entry.state == self.state)
                and (not self.sender or _matches(envelope.reverse_path or "<>", self.sender))
                and (not self.recipient or any(_matches(r.address, self.recipient) for r in envelope.recipients))
                and (not self.older_than or envelope.arrived <= before)
            ):
                yield entry


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
        click.option("--recipient", metavar="GLOB", default="", help="Only mail for such a recipient."),
        click.option("--sender", metavar="GLOB", default="", help="Only mail from such an envelope sender."),
        click.option("--state", type=click.Choice(STATES), help="Only mail in this state."),
    ):
        wrapper = option(wrapper)
    if hasattr(function, "__click_params__"):
        wrapper.__click_params__ = [*function.__click_params__, *wrapper.__click_params__]  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def select(common: Common, ids: tuple[str, ...], filters: Filters, *, everything: bool, but: tuple[str, ...] = ()) -> Chosen:
    """The messages that ids, filters or --all mean; but: states that a bulk never means. Raises UsageError for none."""
    if ids and (everything or filters):
        raise UsageError("name ids, or use --all or filters, not both")
    if not ids and not everything and not filters:
        raise UsageError("name ids, or say which messages by --all, --state, --sender, --recipient or --older-than")
    if ids:
        words = [word for one in ids for word in (sys.stdin.read().split() if one == "-" else [one])]
        wanted = [queue_id.parse(word) for word in words]
        return Chosen(common.enter_spool().spool, list(dict.fromkeys(wanted)))
    spool = common.enter_spool().spool
    return Chosen(spool, [entry.queue_id for entry in filters.of(entries(spool)) if entry.state not in but])
