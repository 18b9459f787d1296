"""What a notice tells: about which message, what came of each recipient, and who asked to be told (RFC 3461, RFC 3464)."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from smartrelay.mail.address import split
from smartrelay.mail.envelope import Envelope
from smartrelay.mail.status import Status


class Action(StrEnum):
    """What is told of a recipient, in the order in which it is told."""

    FAILED = "failed"
    EXPIRED = "expired"  # given up after its lifetime; in a report that is a failure, too
    DELAYED = "delayed"
    RELAYED = "relayed"  # taken by a server that gives no reports of its own
    DELIVERED = "delivered"


LOST = frozenset((Action.FAILED, Action.EXPIRED))
"""The ends of a way that the sender must hear of unless they said otherwise."""


class Outcome(NamedTuple):
    """What came of one recipient.

    recipient: the index in the envelope. status: the last answer; for EXPIRED and DELAYED what the last attempt ended in.
    attempted: Unix seconds of that attempt. retry_until: Unix seconds until which it is tried again, for DELAYED, 0 where
    that is not known. warned: the sender was told before that it is delayed.
    """

    recipient: int
    action: Action
    status: Status
    attempted: float
    retry_until: float = 0.0
    warned: bool = False


class Origin(NamedTuple):
    """The message that a notice is about. text: opens its text as stored, in blocks, as often as it is called."""

    queue_id: str
    envelope: Envelope
    text: Callable[[], Iterable[bytes]]


def wants(notify: str, action: Action) -> bool:
    """Whether a recipient's NOTIFY value, "" where none was given, asks for a notice of this (RFC 3461 section 5.2).

    None given: failures, and delays, of which section 5.2.5 leaves the choice to us; never success.
    """
    words = notify.upper().split(",") if notify else ["FAILURE", "DELAY"]
    if "NEVER" in words:
        return False
    if action in LOST:
        return "FAILURE" in words
    return ("DELAY" if action is Action.DELAYED else "SUCCESS") in words


def is_international(origin: Origin) -> bool:
    """Whether a notice to the sender can only go by SMTPUTF8 (RFC 6531), and may then be international itself.

    Whoever has such an address reads such mail. Of any other sender's mailbox it is not known, nor of the way there: they
    get the 7-bit form (RFC 6533 section 4).
    """
    return not split(origin.envelope.reverse_path)[0].isascii()


def postmaster_is_told(envelope: Envelope, postmaster: str) -> bool:
    """Whether the postmaster is told that this message failed, of which no sender can be (RFC 5321 section 4.5.4).

    Mail to the postmaster is never told of: a note that cannot be delivered must not lead to the next.
    """
    known = postmaster.casefold()
    return bool(known) and not envelope.reverse_path and all(each.address.casefold() != known for each in envelope.recipients)


def by_action(outcomes: Sequence[Outcome]) -> dict[Action, list[Outcome]]:
    """The outcomes of each kind that there is, in the order of the kinds."""
    return {action: found for action in Action if (found := [each for each in outcomes if each.action is action])}
