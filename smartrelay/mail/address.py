"""Mail addresses, in one canonical form for the envelope.

The canonical form of an address is what stands between `<` and `>` in SMTP: a dot-string or quoted-string, `@`, a domain
or address literal (RFC 5321 section 4.1.2). Nothing outside this module takes an address apart. Every string that leaves
here is printable (no controls, no lone surrogates of bytes that are no UTF-8) and free of blanks and angle brackets outside
quotes: logs, notices and SMTP commands rely on it.

On the enqueue path: no imports but `errors`, no regular expressions.
"""

from smartrelay.errors import AddressError

_ATEXT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~")
_ATEXT_AND_DOT = _ATEXT | {"."}
_DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
LOCALHOST = ("localhost", "localhost.localdomain")
_LONGEST = 1000
"""RFC 5321 section 4.5.3.1 promises 256 octets for a path; longer may be tried, but not without bound."""


def canonical(address: str) -> str:
    """The canonical form of one bare address (no display name); a local name without domain is returned as it is.

    Raises AddressError when no mailbox can have this address.
    """
    if _is_plain(address):
        return address  # nearly always
    local, domain = split(address)
    found = _canonical_local(local, address)
    if domain is not None:
        found = f"{found}@{_canonical_domain(domain, address)}"
    if len(found) > _LONGEST:
        raise AddressError(f"address is longer than {_LONGEST} characters: {shown(address[:60])}...")
    return found


def _is_plain(address: str) -> bool:
    local, at, domain = address.rpartition("@")
    return (
        bool(at)
        and bool(local)
        and bool(domain)
        and _ATEXT_AND_DOT.issuperset(local)
        and _DOMAIN.issuperset(domain)
        and ".." not in address
        and "." not in (local[0], local[-1], domain[0], domain[-1])
        and len(address) <= 255
    )


def split(address: str) -> tuple[str, str | None]:
    """Local part as written (quotes kept) and domain, or None where there is no `@`."""
    if address.startswith('"'):
        end = end_of_quoted(address, 0)
        local, rest = address[:end], address[end:]
        if not rest:
            return local, None
        if rest[0] != "@":
            raise AddressError(f"text after the quoted local part in address {shown(address)}")
        return local, rest[1:]
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (domain, None)


def domain_of(address: str) -> str:
    """The domain of a canonical address in lower case without trailing dot, "" for the null reverse-path or a local name."""
    return (split(address)[1] or "").lower() if address else ""


def identity(address: str) -> str:
    """What the spellings of one recipient have in common: case counts in the local part alone (RFC 5321 section 2.4)."""
    local, domain = split(address)
    return local if domain is None else f"{local}@{domain.lower()}"


def qualified(address: str, domain: str) -> str:
    """A canonical address completed with `domain` where it has none or that of a loop-back interface, which means nothing
    to others (RFC 6409 section 4.2: single labels only)."""
    local, own = split(address)
    if not domain or (own is not None and own.lower() not in LOCALHOST):
        return address
    return canonical(f"{local}@{domain}")


def unquoted(local: str) -> str:
    """What a local part means: a quoted-string without its quotes and backslashes."""
    if local[:1] != '"':
        return local
    out, position, inside = "", 0, local[1:-1]
    while position < len(inside):
        if inside[position] == "\\":
            position += 1
        out += inside[position : position + 1]
        position += 1
    return out


def joined(text: str) -> str:
    """The tokens of one address without the white space that RFC 5322 section 4.4 allows around `.` and `@`."""
    text = text.strip()
    if not any(blank in text for blank in " \t\r\n"):
        return text
    out, position = "", 0
    while position < len(text):
        if text[position] == '"':
            end = end_of_quoted(text, position)
            out += text[position:end]
            position = end
        elif text[position] in " \t\r\n":
            position += 1
            if out[-1:] not in (".", "@") and text[position : position + 1] not in (".", "@", " ", "\t", "\r", "\n"):
                raise AddressError(f"blank within an address: {shown(text)}; write <address> after a name")
        else:
            out += text[position]
            position += 1
    return out


def end_of_quoted(text: str, start: int) -> int:
    """Where the quoted-string ends that begins at `start`. Raises AddressError where it does not."""
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == '"':
            return position + 1
        else:
            position += 1
    raise AddressError(f"quotation mark is not closed in {shown(text)}")


def _canonical_local(local: str, address: str) -> str:
    if not local:
        raise AddressError(f"no mailbox name before the '@' in address {shown(address)}")
    if local[0] == '"':
        content = unquoted(local)
        if not content.isprintable():
            raise AddressError(f"control character in address {shown(address)}")
        return local if local == _quoted(content) else _quoted(content)
    if all(char in _ATEXT or char == "." or ord(char) > 127 for char in local) and local.isprintable():
        # a dot at an end or two in a row: some providers gave such names out; only the quoted form is lawful
        return local if "" not in local.split(".") else _quoted(local)
    raise AddressError(f"character not allowed in address {shown(address)}")


def _canonical_domain(domain: str, address: str) -> str:
    if domain.startswith("["):
        inside = domain[1:-1]
        if domain.endswith("]") and inside and all(32 < ord(c) < 127 and c not in "[]\\<>" for c in inside):
            return domain
        raise AddressError(f"bad address literal in {shown(address)}")
    domain = domain.removesuffix(".")
    labels = domain.split(".")
    plain = all(char in _DOMAIN or ord(char) > 127 for char in domain)
    if not domain or not plain or "" in labels or len(domain) > 255 or not domain.isprintable():
        raise AddressError(f"no usable domain after the '@' in address {shown(address)}")
    return domain


def _quoted(content: str) -> str:
    return '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(text: str) -> str:
    """What cannot be read, as a sentence may carry it: in quotes, ASCII, and not too long."""
    return ascii(text if len(text) <= 100 else text[:100] + "...")
