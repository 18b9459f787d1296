"""The queue as text for programs: tab-separated, and as the mailq of Postfix and of sendmail show it."""

import sys
import time
from collections.abc import Container, Iterable

from smartrelay.cli.listing import NULL_SENDER
from smartrelay.cli.rows import Row


def write_tabs(found: Iterable[Row]) -> None:
    """One line a message: id, state, arrival, size, next attempt, sender, waiting recipients, latest reason."""
    for row in found:
        columns = (
            row.queue_id,
            row.state,
            str(int(row.arrived)),
            str(row.octets),
            str(row.due) if row.state == "waiting" else "-",
            row.sender or "<>",
            ",".join(address for address, _ in row.waiting),
            row.reason or "-",
        )
        sys.stdout.write("\t".join(columns) + "\n")


_POSTFIX_HEAD = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
_POSTFIX_BLANK = " " * 47


def write_postfix(found: Iterable[Row], in_hand: Container[str] = ()) -> None:
    """Postfix's `mailq` for long queue ids, to the column (its showq.c and showq(8)): nothing may stand behind the last line,
    which is all that monitoring plugins read. in_hand: ids of messages that are delivered right now."""
    octets = count = 0
    for row in found:
        if not count:
            sys.stdout.write(_POSTFIX_HEAD)
        count += 1
        octets += row.octets
        mark = "!" if row.state == "held" else "*" if row.queue_id in in_hand else ""
        when = time.asctime(time.localtime(row.arrived))[:19]
        lines = [f"{row.queue_id + mark:<17} {row.octets:>8} {when:>19} {row.sender or NULL_SENDER}"]
        before = ""
        for address, why in row.waiting:
            if why != before:
                lines.append(f"({why or 'reason unavailable'})".rjust(76))
            before = why
            lines.append(_POSTFIX_BLANK + address)
        sys.stdout.write("\n".join(lines) + "\n\n")
    if count:
        sys.stdout.write(f"-- {octets // 1024} Kbytes in {count} Request{'' if count == 1 else 's'}.\n")
    else:
        sys.stdout.write("Mail queue is empty\n")


_SENDMAIL_HEAD = "-------Q-ID------- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n"


def write_sendmail(found: Iterable[Row], spool: str) -> None:
    """The `mailq` of sendmail 8, which plugins expect that know no better. spool: named in the first line."""
    listed = list(found)
    count = len(listed)
    if not count:
        sys.stdout.write(f"{spool} is empty\n")
    else:
        sys.stdout.write(f"\t\t{spool} ({count} request{'' if count == 1 else 's'})\n{_SENDMAIL_HEAD}")
    for row in listed:
        when = time.strftime("%a %b %e %H:%M", time.localtime(row.arrived))
        sys.stdout.write(f"{row.queue_id:<18} {row.octets:>8} {when} <{row.sender}>\n")
        if row.reason:
            sys.stdout.write(f"{'':17}(Deferred: {row.reason})\n")
        for address, _ in row.waiting:
            sys.stdout.write(f"\t\t\t\t\t <{address}>\n")
    sys.stdout.write(f"\t\tTotal requests: {count}\n")
