"""Reading envelopes back from the spool, checked once, here, so that everything after may trust them."""

from collections.abc import Sequence
from json import JSONDecoder
from operator import itemgetter
from typing import Any

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical
from smartrelay.mail.envelope import FIELD, VERSION, Envelope, Facts, Recipient
from smartrelay.mail.status import printable

LONGEST_LINE = 64 << 20
"""No envelope is longer than this many octets: 10,000 recipients of 1,000 characters fit five times."""


_TOO_MANY = 10**12
"""Octets, beyond the width of the facts."""

_decode = JSONDecoder().raw_decode
_FACTS = ("stored", "octets", "longest", "eight_bit", "nul", "bare_cr")
_facts = itemgetter(*_FACTS)
_ALWAYS = 6 + len(_FACTS)
"""Members that every envelope has."""


class BadEnvelope(ValueError):
    """The first line of a file is no envelope of ours; the text says why."""


def read(line: bytes) -> Envelope:
    """The envelope in the first line of a spool file (with or without its line feed).

    Raises BadEnvelope with the reason when it is none.
    """
    if not line.startswith(FIELD):
        raise BadEnvelope("its first line is no Smartrelay-Envelope")
    try:
        text = line[len(FIELD) :].decode("ascii").strip()
        data, end = _decode(text)
        if end != len(text):
            raise BadEnvelope("its envelope is followed by something else")
        if data["v"] != VERSION:
            raise BadEnvelope(f"its envelope has version {data['v']!r}, this program reads {VERSION}")
        envelope = Envelope(
            _checked(data["sender"]) if data["sender"] else "",
            [_read_recipient(item) for item in _list(data["recipients"])],
            _moment(data["arrived"]),
            int(data["uid"]),
            printable(str(data["message_id"])),
            facts=Facts(*_counts(_facts(data))),
        )
        if len(data) > _ALWAYS:
            _read_options(envelope, data)
    except BadEnvelope:
        raise
    except (AddressError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadEnvelope(f"its envelope cannot be read: {error}") from error
    if not envelope.recipients:
        raise BadEnvelope("its envelope has no recipient")
    return envelope


def _read_options(envelope: Envelope, data: dict[str, Any]) -> None:
    """What few envelopes have."""
    envelope.ret = _word(data.get("ret", ""))
    envelope.envid = printable(str(data.get("envid", "")))
    origin, number = data.get("notice_of", ("", 0))
    envelope.notice_of = (str(origin), int(number))


def _read_recipient(item: object) -> Recipient:
    if isinstance(item, dict):
        return Recipient(_checked(item["address"]), _word(item["notify"]), _word(item["orcpt"]))
    return Recipient(_checked(item))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("its recipients are no list")
    return value


def _counts(values: Sequence[Any]) -> Sequence[int]:
    for value in values:
        if value.__class__ is not int or not 0 <= value < _TOO_MANY:
            raise ValueError(f"{value!r} is no number of octets")
    return values


def _moment(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _word(value: object) -> str:
    """A parameter's value: it goes into a command (RFC 5321 section 4.1.2, esmtp-value)."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is no value of a parameter")
    return value


def _checked(address: object) -> str:
    """A hand-made spool file must not bring into a command what submission would have refused (RFC 5321 section 4.1.2)."""
    if not isinstance(address, str):
        raise ValueError(f"address is not text: {address!r}")
    return canonical(address)
