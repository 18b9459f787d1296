"""What a DNS server's response says to one question: which records there are, and which of them count.

dnspython reads names, with all that can be wrong with them; around those there are only numbers.
"""

from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_ntop
from struct import error as TooShort
from struct import unpack_from
from typing import Any

import dns.name
from dns.exception import DNSException, FormError
from dns.flags import AA
from dns.rcode import NOERROR, NXDOMAIN
from dns.rdataclass import IN
from dns.rdatatype import AAAA, CNAME, MX, NS, OPT, SOA, A, RdataType

from smartrelay.routing.query import HEADER
from smartrelay.routing.reply import ALIAS, ANSWER, NO_DATA, NO_SUCH_NAME, Question, Reply


class Response:
    """A message as far as it counts: where there are answers, nothing that stands behind them is looked at (RFC 1035 section
    4.1).

    octets: HEADER of them at least. code: the response code, with the upper part that an OPT record has (RFC 6891 section
    6.1.3). asked: the name in the question. answers: how many records it says to have. records: by name and kind, what those
    of the class IN hold, each once: (preference, host) for MX, a text for others. behind: the kinds of the records of the
    authority section. is_garbage: not all of it could be read.
    """

    __slots__ = ("_at", "_octets", "answers", "asked", "behind", "code", "flags", "is_garbage", "records")

    def __init__(self, octets: bytes) -> None:
        self.flags: int
        self.answers: int
        _, self.flags, questions, self.answers, authorities, additional = unpack_from("!6H", octets)
        self.asked = ""
        self.records: dict[tuple[str, int], dict[Any, None]] = {}
        self.behind: set[int] = set()
        self.is_garbage = False
        self.code = self.flags & 0xF
        self._octets, self._at = octets, HEADER
        try:
            for _ in range(questions):
                self.asked = self._name()
                self._at += 4
            for _ in range(self.answers):
                self._read_answer()
            if not self.answers:
                self.behind = {self._skip() for _ in range(authorities)}
                for _ in range(additional):
                    self._skip()
                self.is_garbage = self._at != len(octets)
        except (DNSException, TooShort, ValueError):
            self.is_garbage = True

    @property
    def is_referral(self) -> bool:
        """Whether it says nothing but who else might know (RFC 2308 section 2.2: then it is no "no data")."""
        return not self.answers and NS in self.behind and SOA not in self.behind and not self.flags & AA

    def _name(self) -> str:
        name, used = dns.name.from_wire(self._octets, self._at)
        self._at += used
        return name.to_text(omit_final_dot=True).lower()

    def _head(self) -> tuple[int, int, int, int]:
        """The kind, class, time to live and end of the record of which the name has just been read."""
        kind, group, ttl, length = unpack_from("!HHIH", self._octets, self._at)
        self._at += 10
        end = self._at + length
        if end > len(self._octets):
            raise FormError
        return kind, group, ttl, end

    def _read_answer(self) -> None:
        name = self._name()
        kind, group, _, end = self._head()
        if group == IN and kind in (A, AAAA, MX, CNAME):
            value = self._value(kind, end)
            if self._at != end:
                raise FormError
            self.records.setdefault((name, kind), {})[value] = None
        self._at = end

    def _value(self, kind: int, end: int) -> Any:
        if kind == CNAME:
            return self._name()
        if kind == MX:
            (preference,) = unpack_from("!H", self._octets, self._at)
            self._at += 2
            return preference, self._name()
        address, self._at = self._octets[self._at : end], end
        return inet_ntop(AF_INET if kind == A else AF_INET6, address)

    def _skip(self) -> int:
        """Goes past a record, and returns its kind."""
        _, used = dns.name.from_wire(self._octets, self._at)
        self._at += used
        kind, _, ttl, self._at = self._head()
        if kind == OPT:
            self.code |= ttl >> 24 << 4
        return kind


def read_reply(question: Question, response: Response) -> Reply | None:
    """The reply that an answer section holds, or None where it speaks of other names only.

    response: it answers that question, with NOERROR or NXDOMAIN. Records count for the name that was asked for, and for those
    that its alias leads to, step by step; those of other names, classes and sections count for nothing.
    """
    replies: dict[str, Reply] = {}
    name, kind = response.asked, RdataType[question.kind]
    while name not in replies:
        asked = Question(name, question.kind) if replies else question
        records = response.records.get((name, kind))
        alias = response.records.get((name, CNAME))
        if records and response.code == NOERROR:
            replies[name] = _answer(asked, list(records))
        elif alias:
            *_, target = alias
            text = f"{asked.kind} of {asked.name}: an alias of {target}"
            replies[name] = Reply(asked, ALIAS, canonical=target, text=text)
            name = target
        else:
            break
    if replies:
        first, *further = replies.values()
        return first._replace(further=tuple(further))
    if response.code == NXDOMAIN:
        return Reply(question, NO_SUCH_NAME, text=f"{question.kind} of {question.name}: no such name")
    return None if response.answers else Reply(question, NO_DATA, text=f"{question.kind} of {question.name}: none")


def _answer(question: Question, records: Sequence[Any]) -> Reply:
    shown = [f"{record[0]} {record[1]}" if question.kind == "MX" else record for record in records[:20]]
    more = f" and {len(records) - 20} more" if len(records) > 20 else ""
    return Reply(question, ANSWER, tuple(records), text=f"{question.kind} of {question.name}: {', '.join(shown)}{more}")
