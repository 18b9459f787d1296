"""A DNS question and its answer, as octets (RFC 1035 section 4).

Names are read and written by dnspython. Whole messages are not: `dns.message` takes five times as long for a question and its
answer, a third of a millisecond on an idle machine, and a pass to a thousand domains asks three thousand. Nothing is read but
what is trusted: the header, the question and the answer section. What stands behind them may be anything, except where the
answer is empty: there the authority section tells "no such data" from "ask somebody else" (RFC 2308 section 2.2).
"""

import socket
import struct
from typing import Any, NamedTuple

KINDS = {"A": 1, "CNAME": 5, "MX": 15, "AAAA": 28}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 16: "BADVERS"}
PAYLOAD = 1232
"""Octets of a UDP answer that no path cuts to pieces (the DNS flag day of 2020)."""

_NAMES = {number: kind for kind, number in KINDS.items()}
_NS, _SOA, _OPT, _IN = 2, 6, 41, 1
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_RESPONSE, _OPCODE, _AUTHORITATIVE, _TRUNCATED, _RECURSE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100


class BadName(ValueError):
    """The text is no domain name: an empty label, one of more than 63 octets, more than 255 in all, or not printable ASCII."""


class Malformed(ValueError):
    """The octets are no DNS message."""


class Record(NamedTuple):
    """One record of the answer section. name: in lower case, without trailing dot. value: an address, the name that an alias
    stands for, or (preference, host) of an MX; the root is "."."""

    name: str
    kind: str
    value: Any


class Response(NamedTuple):
    """What an answer says. code: the response code. empty: there is no record in the answer section at all. referral: it is
    empty, and names others who might know. records: those of a kind that we know."""

    code: int
    truncated: bool = False
    empty: bool = False
    referral: bool = False
    records: tuple[Record, ...] = ()


def load() -> None:
    """Imports what is otherwise imported with the first question: for root, who is about to become somebody that may not be
    able to read it."""
    import dns.exception
    import dns.name  # noqa: F401


def query(name: str, kind: str, number: int, *, edns: bool) -> bytes:
    """The question for records of `kind` at the absolute `name`, recursion wanted, with EDNS (RFC 6891) or without.

    number: the message's id. Raises BadName.
    """
    import dns.exception
    import dns.name

    if not name or not name.isascii() or not name.isprintable():
        raise BadName(f"{name!a} is no domain name")
    try:
        wire = dns.name.from_text(name, dns.name.root).to_wire()
    except dns.exception.DNSException as error:
        raise BadName(f"{name!a} is no domain name: {error}") from error
    assert wire is not None  # it is only where a file to write to is given
    option = b"\0" + _RECORD.pack(_OPT, PAYLOAD, 0, 0) if edns else b""
    return _HEADER.pack(number, _RECURSE, 1, 0, 0, 1 if edns else 0) + wire + struct.pack("!HH", KINDS[kind], _IN) + option


def is_answer(wire: bytes, question: bytes) -> bool:
    """Whether `wire` answers that question: its id, its name, its kind (RFC 5452 section 9.1).

    A server that refuses may leave the question out.
    """
    if len(wire) < _HEADER.size or wire[:2] != question[:2]:
        return False
    _, flags, questions, _, _, _ = _HEADER.unpack_from(wire)
    if not flags & _RESPONSE or flags & _OPCODE:
        return False
    if not questions:
        return flags & 15 in (FORMERR, SERVFAIL, NOTIMP, REFUSED)
    end = question.index(b"\0", _HEADER.size) + 5  # behind the name: kind and class
    return questions == 1 and wire[_HEADER.size : end].lower() == question[_HEADER.size : end].lower()


def read(wire: bytes) -> Response:
    """The answer that `wire` holds. Raises Malformed."""
    import dns.exception

    try:
        return _read(wire)
    except (dns.exception.DNSException, struct.error, IndexError) as error:
        raise Malformed(str(error) or type(error).__name__) from error


def _read(wire: bytes) -> Response:
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(wire)
    code, truncated = flags & 15, bool(flags & _TRUNCATED)
    if truncated:
        return Response(code, truncated=True)
    position, records = _HEADER.size, []
    for _ in range(questions):
        position = _name(wire, position)[1] + 4
    for _ in range(answers):
        name, position = _name(wire, position)
        kind, group, _, length = _RECORD.unpack_from(wire, position)
        position += _RECORD.size
        if group == _IN and kind in _NAMES:
            records.append(Record(name, _NAMES[kind], _value(_NAMES[kind], wire, position, position + length)))
        position += length
    if position > len(wire):
        raise Malformed("it ends within a record")
    if answers:
        return Response(code, records=tuple(records))
    below, extended = _rest(wire, position, authorities + additional)
    referral = _NS in below and _SOA not in below and not flags & _AUTHORITATIVE
    return Response(code | extended << 4, empty=True, referral=referral)


def _rest(wire: bytes, position: int, count: int) -> tuple[set[int], int]:
    """The kinds of the records behind an empty answer, and the upper bits of the response code (RFC 6891 section 6.1.3)."""
    kinds, extended = set(), 0
    for _ in range(count):
        position = _name(wire, position)[1]
        kind, _, lifetime, length = _RECORD.unpack_from(wire, position)
        position += _RECORD.size + length
        kinds.add(kind)
        if kind == _OPT:
            extended = lifetime >> 24
    return kinds, extended


def _name(wire: bytes, position: int) -> tuple[str, int]:
    """The name that stands there, and the position behind it."""
    import dns.name

    name, length = dns.name.from_wire(wire, position)
    return name.to_text(omit_final_dot=True).lower(), position + length


def _value(kind: str, wire: bytes, start: int, end: int) -> Any:
    if kind in ("A", "AAAA"):
        data = wire[start:end]
        if len(data) != (4 if kind == "A" else 16):
            raise Malformed(f"an {kind} record of {len(data)} octets")
        return socket.inet_ntop(socket.AF_INET if kind == "A" else socket.AF_INET6, data)
    name, behind = _name(wire, start + 2 if kind == "MX" else start)
    if behind != end:
        raise Malformed(f"a name that does not fill its {kind} record")
    return (int.from_bytes(wire[start : start + 2]), name) if kind == "MX" else name
