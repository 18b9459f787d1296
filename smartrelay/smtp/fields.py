"""Header fields made fit for a server without SMTPUTF8: raw 8-bit text encoded, NUL dropped, long lines folded.

A field that is fit already comes back as it is. # A-075 E-040 E-051 E-052 E-060
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from smartrelay.smtp.encoded_words import Words, Writer, write_words
from smartrelay.smtp.folding import fold
from smartrelay.smtp.mime import field_name, unquote
from smartrelay.smtp.qp import MAX_LINE, NotRecodable

ADDRESSES = frozenset(
    b"from sender reply-to to cc bcc resent-from resent-sender resent-reply-to resent-to resent-cc resent-bcc "
    b"return-path errors-to disposition-notification-to mail-followup-to mail-reply-to delivered-to".split()
)
PARAMETERS = frozenset({b"content-type", b"content-disposition"})
# Fields with a syntax in which only comments are free text.
OTHER_SYNTAX = frozenset(
    b"date resent-date message-id resent-message-id in-reply-to references received mime-version content-id "
    b"content-transfer-encoding".split()
)

_AS_SENT = bytes.maketrans(b"\r", b" ")
_SPACED = re.compile(rb"([ \t\r\n]*+)([^ \t\r\n]++)")
_LEXEME = re.compile(
    rb'(?P<gap>[ \t\r\n]++)|(?P<word>"(?:[^"\\]|\\.)*+"?|[^][ \t\r\n"<>,:;@()]++)|(?P<special>[][<>,:;@)])', re.DOTALL
)
_COMMENT_STEP = re.compile(rb"\\.|[()]", re.DOTALL)
_COMMENT_TEXT = re.compile(rb"[()]|(?:[^()\\]|\\.)++|\\", re.DOTALL)
_PARAMETER = re.compile(rb'(?<![^\s;="()])([^\s;="()]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;"]++)', re.DOTALL)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")


def encode_header(field: bytes, *, utf8: bool = False) -> bytes:
    """One whole field, folds and all, made fit; NotRecodable 5.6.7 if it takes SMTPUTF8, 5.6.0 if it cannot be folded.

    utf8: the server has SMTPUTF8: a field in UTF-8 that takes it stays as it is.

    Unstructured text, phrases and comments become encoded words (RFC 2047; charset utf-8, or unknown-8bit where the
    field is not valid UTF-8), parameters RFC 2231 extended values. # E-051
    """
    if b"\0" not in field and field.isascii() and not _long(field):
        return field
    field = field.translate(_AS_SENT, b"\0")  # now, for a line of which only CR is left would be taken for an empty one
    name = field_name(field)
    if not field.isascii():
        try:
            field = _encode(field, name)
        except NotRecodable:
            if not utf8 or not _is_utf8(field):
                raise
    if _long(field):
        field = fold(field, addresses=name in ADDRESSES, structured=name in ADDRESSES | PARAMETERS | OTHER_SYNTAX)
    return field


def _long(field: bytes) -> bool:
    return len(field) > MAX_LINE and max(map(len, field.split(b"\n"))) > MAX_LINE


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _encode(field: bytes, name: bytes) -> bytes:
    label, colon, value = field.partition(b":")
    charset = "utf-8" if _is_utf8(value) else "unknown-8bit"  # RFC 1428
    if name in PARAMETERS:
        return label + colon + _encode_parameters(value, charset)
    out = Writer(label + colon, charset)
    if name in ADDRESSES:
        _encode_addresses(value, out)
    elif name in OTHER_SYNTAX:
        _encode_comments(list(_lexemes(value)), out)
    else:
        text = value.rstrip(b" \t\r\n")
        write_words(((gap, word, word) for gap, word in _SPACED.findall(text)), out)
        out.add(value[len(text) :])
    return out.value()


# Addresses


class Lexeme(NamedTuple):
    kind: str  # gap, word, special, comment
    text: bytes


def _lexemes(value: bytes) -> Iterator[Lexeme]:
    at = 0
    while at < len(value):
        if value[at : at + 1] == b"(":
            end = _comment_end(value, at)
            yield Lexeme("comment", value[at:end])
        else:
            match = _LEXEME.match(value, at)
            assert match and match.lastgroup  # the classes cover every octet
            end = match.end()
            yield Lexeme(match.lastgroup, match[0])
        at = end


def _comment_end(value: bytes, at: int) -> int:
    depth = 0
    for match in _COMMENT_STEP.finditer(value, at):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    return len(value)


def _encode_addresses(value: bytes, out: Writer) -> None:
    """Mailbox by mailbox; a group's name stands for one, and is a phrase."""
    mailbox: list[Lexeme] = []
    angle = False
    for lexeme in _lexemes(value):
        mailbox.append(lexeme)
        if lexeme.text in (b"<", b">"):
            angle = lexeme.text == b"<"
        elif not angle and lexeme.text in (b",", b";", b":"):
            _encode_mailbox(mailbox, out)
            mailbox = []
    _encode_mailbox(mailbox, out)


def _encode_mailbox(mailbox: list[Lexeme], out: Writer) -> None:
    texts = [lexeme.text for lexeme in mailbox if lexeme.kind == "special"]
    if b"<" in texts:
        phrase = [lexeme.text for lexeme in mailbox].index(b"<")
    elif b"@" in texts and texts[-1] != b":":
        phrase = 0
    else:  # a group's name; or no address at all, as from an unquoted comma in a name: then it is no worse encoded
        phrase = len(mailbox)
    _encode_phrase(mailbox[:phrase], out)
    _encode_comments(mailbox[phrase:], out)


def _encode_phrase(lexemes: list[Lexeme], out: Writer) -> None:
    words: Words = []
    gap = b""
    for lexeme in lexemes:
        if lexeme.kind == "gap":
            gap += lexeme.text
        elif lexeme.kind == "comment" or lexeme.text in (b",", b":", b";"):
            write_words(words, out)
            words = []
            out.add(gap)
            gap = b""
            _encode_comments([lexeme], out)
        else:
            words.append((gap, lexeme.text, unquote(lexeme.text)))
            gap = b""
    write_words(words, out)
    out.add(gap)


def _encode_comments(lexemes: Iterable[Lexeme], out: Writer) -> None:
    """Where only comments may hold text."""
    for kind, text in lexemes:
        if kind == "comment" and not text.isascii():
            out.add_apart(b"")
            for item in _COMMENT_TEXT.findall(text):
                body = item.rstrip(b" \t\r\n")
                pairs = _SPACED.findall(body)
                write_words(((gap, word, re.sub(rb"\\(.)", rb"\1", word)) for gap, word in pairs), out, tight=True)
                out.add(item[len(body) :])
        elif not text.isascii():
            raise NotRecodable("8-bit octets in an address or identifier of the header need SMTPUTF8", "5.6.7")
        elif kind == "gap":
            out.add(text)
        else:
            out.add_apart(text)


# Parameters


def _encode_parameters(value: bytes, charset: str) -> bytes:
    extended = {match[1].lower() for match in _PARAMETER.finditer(value)}

    def encode(match: re.Match[bytes]) -> bytes:
        name, quoted = match[1], match[2]
        if match[0].isascii():
            return match[0]
        if name.lower() == b"boundary":
            raise NotRecodable("8-bit octets in a MIME boundary", "5.6.3")
        text = quoted.rstrip()
        after = quoted[len(text) :]
        if name.endswith(b"*"):  # an extended value whose author left octets raw
            return name + b"=" + _percent(text, keep=b"%'*") + after
        if name.lower() + b"*" in extended:  # what old readers are to see, beside the true value
            return name + b"=" + re.sub(rb"[\x80-\xff]", b"?", quoted)
        if b"*" in name:
            raise NotRecodable("8-bit octets in a section of a MIME parameter", "5.6.7")
        return _extended(name, unquote(re.sub(rb"[\r\n]", b"", text)), charset.encode()) + after

    value = _PARAMETER.sub(encode, value)
    if not value.isascii():
        raise NotRecodable("8-bit octets in a MIME field, outside of its parameters", "5.6.7")
    return value


def _percent(text: bytes, keep: bytes = b"") -> bytes:
    return b"".join(b"%c" % octet if octet in _PLAIN or octet in keep else b"%%%02X" % octet for octet in text)


def _extended(name: bytes, text: bytes, charset: bytes) -> bytes:
    """RFC 2231; in sections where one would make too long a line."""
    whole = _percent(text)
    if len(name) + len(whole) < MAX_LINE // 2:
        return name + b"*=" + charset + b"''" + whole
    sections = [_percent(text[at : at + 20]) for at in range(0, len(text), 20)]
    sections[0] = charset + b"''" + sections[0]
    return b"; ".join(b"%s*%d*=%s" % (name, number, section) for number, section in enumerate(sections))
