"""Sign-in mechanisms (RFC 4954, RFC 4616), without a socket: each takes the server's challenges and gives answers.

Nothing in here is ever logged; the client redacts the whole exchange.
"""

import base64
import binascii
from collections.abc import Generator

Exchange = Generator[bytes | None, bytes, None]
"""Yields its initial response (None where the server speaks first), then a response for each challenge it is sent; ends
when it has nothing more to say."""

LONGEST_COMMAND = 512
"""An initial response that makes the AUTH line longer has to wait for the first challenge (RFC 4954 section 4)."""


def plain(user: str, password: str) -> Exchange:
    """PLAIN: authorisation id (none), user and password in one response (RFC 4616 section 2)."""
    yield f"\0{user}\0{password}".encode()


def login(user: str, password: str) -> Exchange:
    """LOGIN: the user, then the password, whatever the prompts say (draft-murchison-sasl-login)."""
    yield None
    yield user.encode()
    yield password.encode()


MECHANISMS = {"PLAIN": plain, "LOGIN": login}


def choose(offered: str, wanted: str) -> list[str]:
    """The mechanisms to try of those in an AUTH line, strongest first; wanted: "auto" or the only one allowed."""
    names = {name.upper() for name in offered.split()}
    return [name for name in MECHANISMS if name in names and wanted.upper() in ("AUTO", name)]


def encoded(response: bytes, *, initial: bool = False) -> bytes:
    """A response as it goes over the wire; an empty initial response is "=" (RFC 4954 section 4)."""
    return base64.b64encode(response) or (b"=" if initial else b"")


def decoded(text: str) -> bytes | None:
    """A challenge, None when it is no base64 and the exchange must be cancelled (RFC 4954 section 4)."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
