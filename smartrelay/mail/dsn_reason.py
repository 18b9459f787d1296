"""Why a message did not arrive, and what can be done, in plain sentences: the one table from status to words.

By the enhanced status code (RFC 3463, and the registry that RFC 5248 began) where the server gave one that says something,
else by the reply's code (RFC 5321 section 4.2.3).
"""

from typing import NamedTuple

from smartrelay.mail.status import Status


class Reason(NamedTuple):
    """why: holds for a refusal and for a delay. advice: what the sender can do once the message is lost."""

    why: str
    advice: str


_CHECK = "Please check the address, letter by letter, and send the message again."
_ASK = "Please ask the recipient in another way, by telephone for example."
_LATER = "Please send the message again later."
_SMALLER = "Please send less at a time, or give large files to the recipient in another way."
_SHOW = "Please show this notice to your system administrator."

_NO_MAILBOX = Reason("There is no such mailbox: the address may have a typing mistake, or is no longer in use.", _CHECK)
_BAD_ADDRESS = Reason("The mail server does not understand the address.", _CHECK)
_SENDER = Reason(
    "The mail server does not take mail that comes from your address.",
    "Please check the sender's address that your mail program gives, or show this notice to your system administrator.",
)
_CLOSED = Reason("The mailbox is closed or does not take mail.", _ASK)
_MOVED = Reason("The recipient is no longer to be reached at this address.", _ASK)
_FULL = Reason("The mailbox is full.", "Please send the message again later, or ask the recipient to make room.")
_TOO_LARGE = Reason("The message is too large.", _SMALLER)
_BUSY = Reason("The mail server cannot take mail at present.", _LATER)
_UNREACHABLE = Reason("The mail server could not be reached.", _LATER)
_NO_SERVER = Reason("No mail server could be found for the address.", _CHECK)
_SPAM = Reason(
    "The mail server's rules forbid the message: it may take it for unwanted mail (spam).",
    "Please ask the recipient in another way to let your mail in, or show this notice to your system administrator.",
)
_UNPROVEN = Reason("The mail server could not make sure that the message comes from your address.", _SHOW)
_PROTECTION = Reason("The mail servers could not agree on a protected connection.", _SHOW)
_CONTENT = Reason(
    "The mail server cannot take the message in the form that it has.",
    "Please send it in a simpler form, as plain text without attachments for example.",
)
_LETTERS = Reason(
    "A mail server on the way cannot work with the letters in an address.",
    "Please ask the recipient for an address in the letters a to z.",
)

_BY_STATUS = {
    "1.0": _BAD_ADDRESS,
    "1.1": _NO_MAILBOX,
    "1.2": Reason("The part of the address behind the @ does not exist.", _CHECK),
    "1.3": _BAD_ADDRESS,
    "1.4": _BAD_ADDRESS,
    "1.6": _MOVED,
    "1.7": _SENDER,
    "1.8": _SENDER,
    "1.10": Reason("Nobody takes mail at the part of the address behind the @.", _CHECK),
    "2.0": _CLOSED,
    "2.1": _CLOSED,
    "2.2": _FULL,
    "2.3": _TOO_LARGE,
    "3.1": Reason("The mail server has no room left.", _LATER),
    "3.2": _BUSY,
    "3.4": _TOO_LARGE,
    "3.5": Reason("A mail server is not set up as it should be.", _SHOW),
    "4.1": _UNREACHABLE,
    "4.2": Reason("The connection to the mail server broke.", _LATER),
    "4.3": _NO_SERVER,
    "4.4": _NO_SERVER,
    "4.6": Reason("The message went round in circles between mail servers.", _SHOW),
    "4.7": Reason("The message was under way for too long.", _LATER),
    "5.3": Reason("The message has too many recipients.", "Please send it to fewer recipients at a time."),
    "6.7": _LETTERS,
    "6.9": _LETTERS,
    "7.2": Reason("You may not write to this mailing list.", "Please ask the owner of the list."),
    "7.8": Reason("The mail system could not sign in at the mail server that it sends through.", _SHOW),
    "7.9": Reason("The mail system could not sign in at the mail server that it sends through.", _SHOW),
    "7.28": Reason("Too much mail was sent in a short time.", _LATER),
}
_BY_STATUS |= dict.fromkeys(("7.4", "7.5", "7.10", "7.11", "7.30"), _PROTECTION)
_BY_STATUS |= dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27", "7.29"), _UNPROVEN)

_BY_SUBJECT = {
    "2": Reason("The mailbox does not take the message.", _ASK),
    "3": _BUSY,
    "4": _UNREACHABLE,
    "5": Reason("The mail servers did not understand each other.", _SHOW),
    "6": _CONTENT,
    "7": _SPAM,
}

_BY_CODE = {
    421: _BUSY,
    450: Reason("The mail server puts the message off for now.", _LATER),
    451: _BUSY,
    452: _BUSY,
    550: Reason("There is no such mailbox, or the mail server's rules forbid the message.", _CHECK),
    551: _MOVED,
    552: Reason("The mailbox is full, or the message is too large.", _SMALLER),
    553: _BAD_ADDRESS,
    554: _SPAM,
}

_REFUSED = Reason("The mail server refuses the message.", _SHOW)
_NOT_SENT = Reason("The message could not be handed over.", _SHOW)


def reason(status: Status) -> Reason:
    """The sentences for an answer."""
    _, _, detail = status.dsn.partition(".")
    found = _BY_STATUS.get(detail)
    if found is None and status.phase == "sending MAIL FROM" and detail in ("0.0", "7.1") and status.dsn[:1] == "5":
        found = _SENDER  # refused before any recipient was named
    return (
        found
        or _BY_SUBJECT.get(detail.partition(".")[0])
        or _BY_CODE.get(status.code)
        or (_REFUSED if status.code else _NOT_SENT)
    )
