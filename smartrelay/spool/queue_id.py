"""Queue ids: 17 characters from 31 digits and consonants, 11 of microseconds and 6 at random.

They sort by arrival, are never used again, say nothing rude and fit the column of Postfix's long ids. A name from an
operator or from a directory becomes an id only through `parse`, so that none is ever joined to a path unseen.

On the enqueue path: no imports.
"""

ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
_VALID = frozenset(ALPHABET)
_TIME, _RANDOM = 11, 6
LENGTH = _TIME + _RANDOM


def new(microseconds: int, entropy: bytes) -> str:
    """The id of a message that arrives at `microseconds` of Unix time; entropy: 4 octets or more."""
    return _digits(microseconds, _TIME) + _digits(int.from_bytes(entropy, "big"), _RANDOM)


def derived(microseconds: int, origin: str, number: int) -> str:
    """The id of notice `number` about message `origin`, called for at `microseconds`: the same at every try."""
    import hashlib

    digest = hashlib.sha256(f"{origin}/{number}".encode("ascii")).digest()
    return new(microseconds, digest[:8])


def is_valid(text: str) -> bool:
    """Whether `text` is the id of a message (not: whether there is one)."""
    return len(text) == LENGTH and _VALID.issuperset(text)


def parse(text: str) -> str:
    """An id as a person types it, in either case. Raises NoSuchMessage when no message can have it."""
    from smartrelay.spool.trouble import NoSuchMessage

    wanted = text.strip().upper()
    if not is_valid(wanted):
        raise NoSuchMessage(f"{text[:60]!a} is no queue id; `smartrelay queue list` shows the ids")
    return wanted


def arrival(queue_id: str) -> float:
    """When the message came in, in Unix seconds, as its id says."""
    number = 0
    for char in queue_id[:_TIME]:
        number = number * len(ALPHABET) + ALPHABET.index(char)
    return number / 1e6


def _digits(number: int, width: int) -> str:
    text = ""
    for _ in range(width):
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text
