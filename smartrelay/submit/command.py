"""SMTP command lines, read strictly, with the reply for each that is wrong (RFC 5321 section 4.1.1 and its extensions).

Addresses leave here in their canonical form. A blank behind `FROM:` and `TO:` is tolerated: many clients write it.
"""

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical

_HEX = frozenset("0123456789ABCDEF")
_LONGEST_ENVID, _LONGEST_ORCPT = 100, 500
_MOST_DIGITS = 20
_NOTIFY = frozenset(("SUCCESS", "FAILURE", "DELAY"))

PASSED_ON = "XPASSEDON"
"""What `-G` says on the submission socket: between the sendmail command and us, hence not listed."""


class BadCommand(ValueError):
    """A command that is refused; reply: what to say to it, code and enhanced code first."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class Sender:
    """MAIL. path: canonical address, perhaps without a domain, "" for the null reverse-path. size: octets announced, 0 where
    they were not. utf8: whether addresses and header may be in UTF-8 (RFC 6531). ret, envid: RFC 3461, plain text, or "".
    passed_on: the message began elsewhere (PASSED_ON)."""

    __slots__ = ("envid", "passed_on", "path", "ret", "size", "utf8")

    def __init__(self, path: str = "", *, size: int = 0, utf8: bool = False, ret: str = "", envid: str = "") -> None:
        self.path = path
        self.size = size
        self.utf8 = utf8
        self.ret = ret
        self.envid = envid
        self.passed_on = False


class Forward:
    """RCPT. path: canonical address, perhaps without a domain. notify, orcpt: the values of RFC 3461, or ""."""

    __slots__ = ("notify", "orcpt", "path")

    def __init__(self, path: str, notify: str = "", orcpt: str = "") -> None:
        self.path = path
        self.notify = notify
        self.orcpt = orcpt


def split(line: bytes) -> tuple[str, str]:
    """Verb in upper case and argument. Raises BadCommand for what cannot be text."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCommand("501 5.5.2 That is not UTF-8") from None
    if not text.isprintable():
        raise BadCommand("501 5.5.2 There is a control character in the command")
    verb, _, argument = text.rstrip(" ").partition(" ")
    return verb.upper(), argument.lstrip(" ")


def mail(argument: str, *, tolerant: bool) -> Sender:
    """The argument of MAIL. tolerant: the angle brackets may be missing. Raises BadCommand."""
    path, words = _path(argument, "FROM", tolerant)
    sender = Sender()
    for name, value in _parameters(words):
        if name not in _MAIL:
            raise BadCommand("555 5.5.4 That parameter of MAIL is not known here")
        _MAIL[name](sender, value)
    if path:
        sender.path = _address(path, "501 5.1.7")
        if not path.isascii() and not sender.utf8:
            raise BadCommand("550 5.6.7 An address that is not ASCII takes SMTPUTF8")
    return sender


def _size(sender: Sender, value: str) -> None:
    if not _is_number(value):
        raise BadCommand("501 5.5.4 SIZE takes a number of octets")
    sender.size = int(value)


def _body(sender: Sender, value: str) -> None:
    if value.upper() not in ("7BIT", "8BITMIME"):
        raise BadCommand("501 5.5.4 BODY takes 7BIT or 8BITMIME")


def _smtputf8(sender: Sender, value: str) -> None:
    if value:
        raise BadCommand("501 5.5.4 SMTPUTF8 takes no value")
    sender.utf8 = True


def _ret(sender: Sender, value: str) -> None:
    sender.ret = value.upper()
    if sender.ret not in ("FULL", "HDRS"):
        raise BadCommand("501 5.5.4 RET takes FULL or HDRS")


def _envid(sender: Sender, value: str) -> None:
    sender.envid = unxtext(value)
    if not sender.envid or len(value) > _LONGEST_ENVID:
        raise BadCommand("501 5.5.4 ENVID takes up to 100 characters of xtext")


def _passed_on(sender: Sender, value: str) -> None:
    if value:
        raise BadCommand(f"501 5.5.4 {PASSED_ON} takes no value")
    sender.passed_on = True


_MAIL = {"SIZE": _size, "BODY": _body, "SMTPUTF8": _smtputf8, "RET": _ret, "ENVID": _envid, PASSED_ON: _passed_on}


def recipient(argument: str, *, tolerant: bool, utf8: bool) -> Forward:
    """The argument of RCPT. utf8: whether the transaction is one of SMTPUTF8. Raises BadCommand."""
    path, words = _path(argument, "TO", tolerant)
    notify = orcpt = ""
    for name, value in _parameters(words):
        if name == "NOTIFY":
            notify = value.upper()
            if notify != "NEVER" and not _NOTIFY.issuperset(notify.split(",")):
                raise BadCommand("501 5.5.4 NOTIFY takes NEVER, or SUCCESS, FAILURE and DELAY with commas")
        elif name == "ORCPT":
            orcpt = value
            kind, semicolon, original = value.partition(";")
            if not kind or not semicolon or not unxtext(original) or len(value) > _LONGEST_ORCPT:
                raise BadCommand("501 5.5.4 ORCPT takes a type of address, a semicolon and an address as xtext")
        else:
            raise BadCommand("555 5.5.4 That parameter of RCPT is not known here")
    found = _address(path, "501 5.1.3")
    if not found.isascii() and not utf8:
        raise BadCommand("553 5.6.7 An address that is not ASCII takes SMTPUTF8")
    return Forward(found, notify, orcpt)


def chunk(argument: str) -> tuple[int, bool]:
    """The argument of BDAT: octets, and whether the message ends with them (RFC 3030 section 2). Raises BadCommand."""
    size, _, more = argument.upper().partition(" ")
    if not _is_number(size) or more.strip() not in ("", "LAST"):
        raise BadCommand("501 5.5.4 BDAT takes a number of octets, and LAST")
    return int(size), bool(more)


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _MOST_DIGITS


def _path(argument: str, keyword: str, tolerant: bool) -> tuple[str, str]:
    """What stands in the angle brackets, without a source route, and what stands behind them."""
    wrong = BadCommand(f"501 5.5.4 Write {'MAIL' if keyword == 'FROM' else 'RCPT'} {keyword}:<address>")
    word, colon, rest = argument.partition(":")
    if word.upper() != keyword or not colon:
        raise wrong
    rest = rest.lstrip(" ")
    if rest[:1] != "<":
        if not tolerant or not rest:
            raise wrong
        path, _, words = rest.partition(" ")
        return path, words
    end = _closing(rest)
    path, words = rest[1:end], rest[end + 1 :]
    if not end or words[:1] not in ("", " "):
        raise wrong
    if path[:1] == "@":  # section 4.1.1.3: recognised and left out
        _, colon, path = path.partition(":")
        if not colon or not path:
            raise wrong
    return path, words


def _closing(text: str) -> int:
    """Where the bracket closes that `text` begins with, 0 where it never does: quotes hide one."""
    quoted, position = False, 1
    while position < len(text):
        char = text[position]
        if quoted and char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            return position
        position += 1
    return 0


def _parameters(words: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for word in words.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if name in found or (equals and not value) or not value.isascii():
            raise BadCommand("501 5.5.4 A parameter is there twice, or its value cannot be one")
        found[name] = value
    return list(found.items())


def _address(path: str, code: str) -> str:
    try:
        return canonical(path)
    except AddressError as error:
        raise BadCommand(f"{code} {error}") from None


def unxtext(value: str) -> str:
    """The plain text of an xtext value, "" where it is none or has controls (RFC 3461 section 4)."""
    first, *rest = value.split("+")
    if " " in value or "=" in value or not all(len(part) >= 2 and _HEX.issuperset(part[:2]) for part in rest):
        return ""
    plain = first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    return plain if plain.isascii() and plain.isprintable() else ""
