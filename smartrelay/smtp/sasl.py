"""Sign-in mechanisms (RFC 4954), without a socket: each takes the server's challenges and gives answers.

Nothing in here is ever logged; the client redacts the whole exchange.
"""

import base64
import binascii
import hashlib
import hmac
import os
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, Protocol

LONGEST_COMMAND = 512
"""An initial response that makes the AUTH line longer has to wait for the first challenge (RFC 4954 section 4)."""

_FEWEST_ROUNDS = 4096
_MOST_ROUNDS = 1_000_000
"""Bounds for SCRAM's iteration count: fewer give the password away (RFC 5802 section 5.1), more are an attack on us."""


class Account(NamedTuple):
    """As whom to sign in, and where. secret: the password or, for OAuth, the access token. host, port: of the server."""

    user: str
    secret: str
    host: str = ""
    port: int = 0


class Refused(Exception):
    """The server's side of the exchange is not to be believed, or makes no sense; the exchange is cancelled."""


class Mechanism(Protocol):
    """One exchange. satisfied: whether the server has proved all that this mechanism asks of it, so that its yes counts."""

    satisfied: bool

    def initial(self) -> bytes | None:
        """What the client says first, None where the server does."""

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises Refused."""


class Plain:
    """PLAIN: authorisation id (none), user and password in one response (RFC 4616 section 2)."""

    satisfied = True

    def __init__(self, user: str, password: str) -> None:
        self._response = f"\0{user}\0{password}".encode()

    def initial(self) -> bytes | None:
        return self._response

    def respond(self, challenge: bytes) -> bytes:
        raise Refused("PLAIN has one response only")


class Login:
    """LOGIN: the user, then the password, whatever the prompts say (draft-murchison-sasl-login)."""

    satisfied = True

    def __init__(self, user: str, password: str) -> None:
        self._responses = [password.encode(), user.encode()]

    def initial(self) -> bytes | None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if not self._responses:
            raise Refused("LOGIN has two responses only")
        return self._responses.pop()


class External:
    """EXTERNAL: who we are, the client certificate has said (RFC 4422 appendix A)."""

    satisfied = True

    def __init__(self, user: str, password: str) -> None:
        self._user = user.encode()

    def initial(self) -> bytes | None:
        return self._user

    def respond(self, challenge: bytes) -> bytes:
        raise Refused("EXTERNAL has one response only")


class CramMD5:
    """CRAM-MD5: a keyed digest of the server's challenge (RFC 2195)."""

    satisfied = True

    def __init__(self, user: str, password: str) -> None:
        self._user = user.encode()
        self._password = password.encode()
        self._done = False

    def initial(self) -> bytes | None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if self._done:
            raise Refused("CRAM-MD5 has one response only")
        self._done = True
        try:
            digest = hmac.new(self._password, challenge, "md5").hexdigest()
        except ValueError as error:  # a system without MD5
            raise Refused(str(error)) from error
        return self._user + b" " + digest.encode()


class Scram:
    """SCRAM (RFC 5802): neither side learns the password from the other, and the server proves that it knows it."""

    def __init__(self, digest: str, user: str, password: str, nonce: Callable[[int], bytes] = os.urandom) -> None:
        self.satisfied = False
        self._digest = digest
        self._password = _prepared(password).encode()
        name = _prepared(user).replace("=", "=3D").replace(",", "=2C")
        self._nonce = base64.b64encode(nonce(18)).decode()
        self._first = f"n={name},r={self._nonce}"
        self._signature: bytes | None = None

    def initial(self) -> bytes | None:
        return f"n,,{self._first}".encode()

    def respond(self, challenge: bytes) -> bytes:
        attributes = _attributes(challenge)
        if self._signature is None:
            return self._proof(challenge.decode("utf-8", "replace"), attributes)
        if self.satisfied or not hmac.compare_digest(_unbase64(attributes.get("v", "")), self._signature):
            raise Refused("the server does not know the password (its signature is wrong)")
        self.satisfied = True
        return b""

    def _proof(self, server_first: str, attributes: dict[str, str]) -> bytes:
        nonce, rounds = attributes.get("r", ""), attributes.get("i", "")
        if "m" in attributes:
            raise Refused("the server asks for an extension of SCRAM that is not known here")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise Refused("the server's nonce does not begin with ours")
        if not rounds.isdecimal() or len(rounds) > 10 or not _FEWEST_ROUNDS <= int(rounds) <= _MOST_ROUNDS:
            raise Refused(f"the server's iteration count {rounds[:12]!r} is out of bounds")
        salted = hashlib.pbkdf2_hmac(self._digest, self._password, _unbase64(attributes.get("s", "")), int(rounds))
        client_key = self._hmac(salted, b"Client Key")
        final = f"c=biws,r={nonce}"
        message = f"{self._first},{server_first},{final}".encode()
        client_signature = self._hmac(hashlib.new(self._digest, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._digest).digest()


class Bearer:
    """XOAUTH2 and OAUTHBEARER: an access token in place of a password. What is wrong with it the server says in a challenge,
    and refuses when that is answered; say: the response, and the answer to that."""

    satisfied = True

    def __init__(self, response: str, acknowledgement: bytes) -> None:
        self._response = response.encode()
        self._acknowledgement: bytes | None = acknowledgement

    @classmethod
    def google(cls, account: Account) -> "Bearer":
        """XOAUTH2, Google's protocol."""
        return cls(f"user={account.user}\1auth=Bearer {account.secret}\1\1", b"")

    @classmethod
    def rfc(cls, account: Account) -> "Bearer":
        """OAUTHBEARER (RFC 7628 section 3.1)."""
        name = account.user.replace("=", "=3D").replace(",", "=2C")
        where = f"host={account.host}\1port={account.port}\1"
        return cls(f"n,a={name},\1{where}auth=Bearer {account.secret}\1\1", b"\1")

    def initial(self) -> bytes | None:
        return self._response

    def respond(self, challenge: bytes) -> bytes:
        acknowledgement, self._acknowledgement = self._acknowledgement, None
        if acknowledgement is None:
            raise Refused("the server asks for more than a token")
        return acknowledgement


def _prepared(text: str) -> str:
    """A name or password as both sides know it: SASLprep's mapping and normalisation (RFC 4013 sections 2.1 and 2.2). What it
    prohibits is left to the server, which knows whether anybody has such a password."""
    if text.isascii():
        return text
    import stringprep

    kept = [char for char in text if not stringprep.in_table_b1(char)]
    spaced = "".join(" " if stringprep.in_table_c12(char) else char for char in kept)
    return unicodedata.normalize("NFKC", spaced)


def _attributes(message: bytes) -> dict[str, str]:
    """`a=b,c=d` as a dictionary (RFC 5802 section 5.1)."""
    found: dict[str, str] = {}
    for part in message.decode("utf-8", "replace").split(","):
        name, equals, value = part.partition("=")
        if not equals or len(name) != 1 or name in found:
            raise Refused("the server's SCRAM message cannot be read")
        found[name] = value
    return found


def _unbase64(text: str) -> bytes:
    found = decoded(text)
    if not found:
        raise Refused("the server's SCRAM message has no valid base64 where it must")
    return found


Maker = Callable[[Account], Mechanism]

MECHANISMS: dict[str, Maker] = {
    "SCRAM-SHA-256": lambda account: Scram("sha256", account.user, account.secret),
    "SCRAM-SHA-1": lambda account: Scram("sha1", account.user, account.secret),
    "CRAM-MD5": lambda account: CramMD5(account.user, account.secret),
    "PLAIN": lambda account: Plain(account.user, account.secret),
    "LOGIN": lambda account: Login(account.user, account.secret),
    "EXTERNAL": lambda account: External(account.user, account.secret),
    "OAUTHBEARER": Bearer.rfc,
    "XOAUTH2": Bearer.google,
}
"""By strength, strongest first. EXTERNAL comes first where a client certificate was given, and never without one."""

_TOKENS = frozenset(("OAUTHBEARER", "XOAUTH2"))
"""Only on request: a password is no token, and neither may be shown in the other's place."""


def choose(offered: str, wanted: str, *, certificate: bool, secret: bool = True) -> list[str]:
    """The mechanisms to try of those in an AUTH line, strongest first; wanted: "auto" or the only one allowed.

    Without a secret only EXTERNAL is left, and that needs the certificate which it refers to.
    """
    names = {name.upper() for name in offered.split()} & set(MECHANISMS)
    if not certificate:
        names.discard("EXTERNAL")
    if not secret:
        names &= {"EXTERNAL"}
    names = names - _TOKENS if wanted.upper() == "AUTO" else names & {wanted.upper()}
    return sorted(names, key=lambda name: (name != "EXTERNAL", list(MECHANISMS).index(name)))


def encoded(response: bytes, *, initial: bool = False) -> bytes:
    """A response as it goes over the wire; an empty initial response is "=" (RFC 4954 section 4)."""
    return base64.b64encode(response) or (b"=" if initial else b"")


def decoded(text: str) -> bytes | None:
    """A challenge, None when it is no base64 and the exchange must be cancelled (RFC 4954 section 4)."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
