"""Display names as a header may carry them."""

import binascii


def phrase(name: str) -> str:
    """A display name as a header may carry it: atoms, a quoted-string, or an encoded-word (RFC 5322 section 3.2, RFC 2047)."""
    name = "".join(char for char in name if char >= " " and char != "\x7f").strip()
    if not name.isascii():
        return _encoded_words(name)
    if all(char.isalnum() or char in " !#$%&'*+-/=?^_`{|}~" for char in name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encoded_words(name: str) -> str:
    words, piece = [], ""
    for char in [*name, ""]:
        if not char or len((piece + char).encode("utf-8", "replace")) > 45:
            # 45 octets make 60 base64 characters; an encoded-word may have 75 (RFC 2047 section 2)
            words.append("=?utf-8?b?" + binascii.b2a_base64(piece.encode("utf-8", "replace"), newline=False).decode() + "?=")
            piece = ""
        piece += char
    return " ".join(words)
