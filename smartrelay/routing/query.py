"""A question as it goes over the wire, and by what a datagram is known to answer it (RFC 1035 section 4.1).

Written here: to have dnspython make a message of each question, and of each answer, took two thirds of a pass to many domains.
"""

import os
from struct import pack

from dns.flags import QR, RD
from dns.name import Name
from dns.opcode import QUERY, from_flags
from dns.rcode import FORMERR, NOTIMP, REFUSED, SERVFAIL
from dns.rdataclass import IN
from dns.rdatatype import OPT, RdataType

HEADER = 12
"""Octets of a message before its first section."""

_PAYLOAD = 1232
"""Octets that an answer over UDP may have: no path cuts those to pieces (the DNS flag day of 2020)."""

_EDNS = b"\0" + pack("!HHIH", OPT, _PAYLOAD, 0, 0)
_SPEECHLESS = (FORMERR, SERVFAIL, NOTIMP, REFUSED)
"""Codes with which some servers do not repeat the question: they have not understood it."""


class Query:
    """One question for records of `kind` at `name`, with an id that nobody can guess (RFC 5452 section 9.2). edns: says that
    longer answers are understood (RFC 6891 section 6.1)."""

    __slots__ = ("_id", "_question", "octets")

    def __init__(self, name: Name, kind: str, *, edns: bool) -> None:
        self._id = os.urandom(2)
        self._question = name.to_digestable() + pack("!HH", RdataType[kind], IN)
        header = self._id + pack("!HHHHH", RD, 1, 0, 0, edns)
        self.octets = header + self._question + (_EDNS if edns else b"")

    def is_answered_by(self, datagram: bytes) -> bool:
        """Whether this answers the question, by its id, name, kind and class (RFC 5452 section 9.1)."""
        flags, questions = int.from_bytes(datagram[2:4]), int.from_bytes(datagram[4:6])
        if len(datagram) < HEADER or datagram[:2] != self._id or not flags & QR or from_flags(flags) != QUERY:
            return False
        if not questions:
            return flags & 0xF in _SPEECHLESS
        # no octet of a length, a kind or a class is one of a capital letter, nor becomes one of these by being made small
        asked = datagram[HEADER : HEADER + len(self._question)]
        return questions == 1 and asked.lower() == self._question
