"""Who is told of what (RFC 3461 section 5.2)."""

import pytest

from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.mail.notice import Action, by_action, is_international, postmaster_is_told, wants
from tests.support.notices import REMOTE, origin, outcomes

LOST = {Action.FAILED, Action.EXPIRED}
SUCCESS = {Action.RELAYED, Action.DELIVERED}


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ("", LOST | {Action.DELAYED}),  # C-060 C-061 C-069
        ("NEVER", set()),  # C-062
        ("NEVER,FAILURE", set()),
        ("FAILURE", LOST),  # C-066 C-068
        ("failure,delay", LOST | {Action.DELAYED}),
        ("DELAY", {Action.DELAYED}),  # C-067 C-069
        ("SUCCESS", SUCCESS),  # C-064 C-067 C-068
        ("SUCCESS,DELAY", SUCCESS | {Action.DELAYED}),
        ("SUCCESS,FAILURE", LOST | SUCCESS),
        ("SUCCESS,FAILURE,DELAY", set(Action)),
    ],
)
def test_a_recipient_is_told_of_as_notify_asks(notify: str, told: set[Action]) -> None:
    assert {action for action in Action if wants(notify, action)} == told


@pytest.mark.parametrize(
    ("sender", "international"),
    [
        ("s@a.example", False),
        ("s@bücher.example", False),
        ("jörg@a.example", True),
        ('"jörg x"@a.example', True),
        ("root", False),
    ],
)
def test_only_a_sender_who_needs_smtputf8_gets_an_international_notice(sender: str, international: bool) -> None:
    """A domain alone goes as A-labels, and of anybody else it is not known what their mailbox takes."""  # C-043 A-099
    assert is_international(origin(sender=sender)) is international


@pytest.mark.parametrize(
    ("sender", "recipients", "postmaster", "told"),
    [
        ("", ["s@a.example"], "admin@a.example", True),  # C-021
        ("", ["Admin@A.example"], "admin@a.example", False),  # C-022: its own note has come back
        ("", ["s@a.example", "admin@a.example"], "admin@a.example", False),
        ("", ["s@a.example"], "", False),  # none is set
        ("x@a.example", ["s@a.example"], "admin@a.example", False),  # there is a sender to tell
    ],
)
def test_the_postmaster_is_told_of_what_no_sender_can_be_and_never_of_that_again(
    sender: str, recipients: list[str], postmaster: str, told: bool
) -> None:
    envelope = Envelope(sender, [Recipient(each) for each in recipients], 0, 0)
    assert postmaster_is_told(envelope, postmaster) is told


def test_outcomes_are_told_kind_by_kind() -> None:
    about = origin("a@x", "b@x")
    late, lost = outcomes(about, REMOTE, Action.DELAYED)[0], outcomes(about, REMOTE)[1]
    assert list(by_action([late, lost]).items()) == [(Action.FAILED, [lost]), (Action.DELAYED, [late])]
