"""What a DNS server's response says to one question. dnspython reads the message; which records count is decided here."""

from typing import Any

import dns.message

# dnspython looks for these when it meets the first record of their kind: by then they may be out of reach (`resolver.load`).
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.NS
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
from dns.flags import AA
from dns.message import Message
from dns.name import Name
from dns.rcode import NOERROR, NXDOMAIN
from dns.rdataclass import IN
from dns.rdatatype import CNAME, NS, SOA, RdataType

from smartrelay.routing.reply import ALIAS, ANSWER, NO_DATA, NO_SUCH_NAME, Question, Reply

_ANSWERS, _OTHERS, _NONE = slice(6, 8), slice(8, 12), bytes(2)
"""Where a message says how many answers it has, and how many records behind them."""


def read_message(octets: bytes) -> Message:
    """A message, as far as it counts: where there are answers, nothing that stands behind them is looked at. What cannot be
    read of it is in its `errors`. Raises DNSException."""
    if octets[_ANSWERS] == _NONE:
        return dns.message.from_wire(octets, continue_on_error=True)
    alone = octets[: _OTHERS.start] + _NONE * 2 + octets[_OTHERS.stop :]
    return dns.message.from_wire(alone, continue_on_error=True, ignore_trailing=True)


def read_reply(question: Question, response: Message) -> Reply | None:
    """The reply that an answer section holds, or None where it speaks of other names only.

    response: it answers that question, with NOERROR or NXDOMAIN. Records count for the name that was asked for, and for those
    that its alias leads to, step by step; those of other names, classes and sections count for nothing.
    """
    replies: dict[Name, Reply] = {}
    name, kind = response.question[0].name, RdataType[question.kind]
    while name not in replies:
        asked = Question(_text(name), question.kind) if replies else question
        records = response.get_rrset(response.answer, name, IN, kind)
        alias = response.get_rrset(response.answer, name, IN, CNAME)
        if records and response.rcode() == NOERROR:
            replies[name] = _answer(asked, tuple(_value(record) for record in records))
        elif alias:
            text = f"{asked.kind} of {asked.name}: an alias of {_text(alias[0].target)}"
            replies[name] = Reply(asked, ALIAS, canonical=_text(alias[0].target), text=text)
            name = alias[0].target
        else:
            break
    if replies:
        first, *further = replies.values()
        return first._replace(further=tuple(further))
    if response.rcode() == NXDOMAIN:
        return Reply(question, NO_SUCH_NAME, text=f"{question.kind} of {question.name}: no such name")
    return None if response.answer else Reply(question, NO_DATA, text=f"{question.kind} of {question.name}: none")


def is_referral(response: Message) -> bool:
    """Whether it says nothing but who else might know (RFC 2308 section 2.2: then it is no "no data")."""
    below = {rrset.rdtype for rrset in response.authority}
    return not response.answer and NS in below and SOA not in below and not response.flags & AA


def _answer(question: Question, records: tuple[Any, ...]) -> Reply:
    shown = [f"{record[0]} {record[1]}" if question.kind == "MX" else record for record in records[:20]]
    more = f" and {len(records) - 20} more" if len(records) > 20 else ""
    return Reply(question, ANSWER, records, text=f"{question.kind} of {question.name}: {', '.join(shown)}{more}")


def _value(record: Any) -> Any:
    return (record.preference, _text(record.exchange)) if record.rdtype == RdataType.MX else record.address


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
