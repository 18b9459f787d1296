"""The From policy: whose mail this is said to be, in the envelope and in the header together.

It is applied when mail is sent, so that a changed policy holds for all that is queued. Each address is looked up by itself,
and the first rule that is for it counts: that of the envelope, and those in From, Sender and their Resent- forms. Names and
comments beside an address stay. Mail with the null sender is nobody's, and stays as it is (RFC 5321 section 4.5.5).
"""

import pwd
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical, split
from smartrelay.mail.address_list import changed
from smartrelay.mail.envelope import Envelope, Facts
from smartrelay.mail.header import Field, addresses, value
from smartrelay.mail.header_edit import Text, edited
from smartrelay.values import FromRules

_AUTHORS = (b"from", b"sender", b"resent-from", b"resent-sender")


def user_id(name: str) -> int | None:
    """The uid of a user of this host; None for a name that is nobody's: the next host may have him."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


class Outgoing(NamedTuple):
    """A message as it is sent."""

    reverse_path: str
    text: Text
    facts: Facts


class FromPolicy:
    """The rules of one next hop: its own, or those of [submit].

    rules: (pattern, address) in order; the pattern is a user's name, or a glob over addresses in lower case. The address is a
    whole one, "@domain" to keep the local part, or "" to leave it as it is. original: "reply-to" or "x-original-from" for where
    the first From goes, or "none". uid_of: the uid of a user.
    """

    def __init__(self, rules: FromRules, original: str, uid_of: Callable[[str], int | None] = user_id) -> None:
        self._rules = [
            (pattern, None if "@" in pattern or pattern == "*" else uid_of(pattern), address) for pattern, address in rules
        ]
        self._original = original

    def address(self, address: str, uid: int) -> str:
        """What stands for a canonical address in mail that this user handed in; "" is for whatever cannot be read."""
        for pattern, user, new in self._rules:
            if pattern == "*" or user == uid or ("@" in pattern and fnmatchcase(address.lower(), pattern)):
                return self._replaced(address, new)
        return address

    def _replaced(self, address: str, new: str) -> str:
        if not new:
            return address
        if not new.startswith("@"):
            return new
        try:
            return canonical(f"{split(address)[0]}{new}") if address else ""
        except AddressError:
            return address  # it would be too long

    def outgoing(self, envelope: Envelope, text: Text) -> Outgoing:
        """The message as this policy has it. Raises what `text` raises."""
        if not envelope.reverse_path:
            return Outgoing("", text, envelope.facts)

        def new(address: str) -> str:
            return self.address(address, envelope.uid)

        return Outgoing(new(envelope.reverse_path), *edited(text, envelope.facts, lambda found: self._header(found, new)))

    def _header(self, found: list[Field], new: Callable[[str], str]) -> list[bytes]:
        lines: list[bytes] = []
        names = {name for name, _ in found}
        for name, field in found:
            line = _field(field, new) if name in _AUTHORS else field
            lines.append(line)
            if name == b"from" and line != field:
                kept = field[field.index(b":") :]
                if self._original == "x-original-from":
                    lines.append(b"X-Original-From" + kept)
                elif self._original == "reply-to" and b"reply-to" not in names and _can_be_answered(field):
                    lines.append(b"Reply-To" + kept)
                    names.add(b"reply-to")
        return lines


def _field(field: bytes, new: Callable[[str], str]) -> bytes:
    try:
        return changed(field, new)
    except AddressError:
        address = new("")
        return field.partition(b":")[0] + f": {address}\n".encode() if address else field


def _can_be_answered(field: bytes) -> bool:
    """Whether a field holds addresses, and none that only SMTPUTF8 can carry: the author that it gets may go anywhere."""
    try:
        return all(map(str.isascii, addresses(value(field))))
    except AddressError:
        return False
