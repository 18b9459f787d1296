"""The messages of the queue as all listings show them, each seen at a glance where that is enough, in any order."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from smartrelay.cli.expiry import Expiry
from smartrelay.cli.listing import age, reason
from smartrelay.mail.status import visible
from smartrelay.spool.glance import Glance, Place, glance, walk
from smartrelay.spool.listing import Entry, readable


class Row(NamedTuple):
    """One message. state: "new", "waiting", "held". due: its next attempt, 0 for at once; arrived: both in Unix seconds.
    sender: "" for that of a notice. recipients: all of them; waiting: those whose way has not ended, each with why it waits, ""
    for no attempt yet. ours: the latest attempt failed for a trouble of our own. seen: what it was made from. All texts are
    one line, and printable."""

    queue_id: str
    state: str
    due: int
    arrived: float
    octets: int
    sender: str
    recipients: tuple[str, ...]
    waiting: tuple[tuple[str, str], ...]
    ours: bool
    seen: Glance | Entry

    @property
    def reason(self) -> str:
        """Why the first of those waits that were tried; "" for none."""
        return next((why for _, why in self.waiting if why), "")

    @property
    def addressee(self) -> str:
        """The first of those that wait; "" where nobody does any more."""
        return self.waiting[0][0] if self.waiting else ""

    def age(self, expiry: Expiry) -> float:
        """For how many seconds the mail could have gone (law 11)."""
        if isinstance(self.seen, Glance):
            return expiry.age(self.arrived, self.seen.marks)
        return age(self.seen, expiry) or 0.0


def rows(spool: str) -> Iterator[Row]:
    """All readable messages, oldest first; nothing is locked or changed."""
    for place in walk(spool):
        found = row_at(spool, place)
        if found is not None:
            yield found


def row_at(spool: str, place: Place) -> Row | None:
    """The message that is there; None when it has gone meanwhile or cannot be read."""
    seen = glance(spool, place)
    if seen is not None:
        return _of_glance(seen)
    entry = readable(spool, place)
    return of_entry(entry) if entry is not None else None


def of_entry(entry: Entry) -> Row:
    """The row of a message that was looked at closely."""
    envelope, history = entry.envelope, entry.history
    addresses = [visible(recipient.address) for recipient in envelope.recipients]
    waiting = []
    for index in history.waiting:
        status = history.last[index]
        waiting.append((addresses[index], visible(reason(status)) if status is not None else ""))
    marks = history.marks(history.waiting[0]) if waiting else []
    return Row(
        entry.queue_id,
        entry.state,
        entry.due,
        envelope.arrived,
        envelope.facts.octets,
        visible(envelope.reverse_path),
        tuple(addresses),
        tuple(waiting),
        bool(marks) and entry.state == "waiting" and not marks[-1].counts,
        entry,
    )


def _of_glance(seen: Glance) -> Row:
    why = f"host {seen.host} said: {seen.text}" if seen.code != "0" else seen.text
    return Row(
        seen.queue_id,
        "waiting",
        seen.due,
        seen.arrived,
        int(seen.octets),
        seen.sender,
        (seen.recipient,),
        ((seen.recipient, why),),
        not seen.marks[-1][1],
        seen,
    )


def _by_domain(address: str) -> tuple[str, str]:
    local, _, domain = address.lower().rpartition("@")
    return domain, local


_ORDERS: dict[str, Callable[[Row], object]] = {
    "age": lambda row: row.arrived,
    "size": lambda row: -row.octets,
    "next": lambda row: (row.state == "held", row.due),
    "sender": lambda row: _by_domain(row.sender),
    "recipient": lambda row: _by_domain(row.addressee),
    "state": lambda row: ("new", "waiting", "held").index(row.state),
    "reason": lambda row: (not row.reason, row.reason),
}
ORDERS = tuple(_ORDERS)
"""By which a listing can be sorted: age (oldest first), size (largest first), next attempt (soonest first, held mail last),
sender and recipient (by domain, then name), state, reason (what has none last)."""


def ordered(found: Iterable[Row], by: str, *, reverse: bool) -> Iterable[Row]:
    """The rows in this order, equals by age. Those that are oldest first already are passed on as they come."""
    if by == "age" and not reverse:
        return found
    return sorted(found, key=_ORDERS[by], reverse=reverse)  # type: ignore[arg-type]
