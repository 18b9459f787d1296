"""Address lists in full: groups, comments, quotes, folding, routes (RFC 5322 sections 3.4 and 4.4).

The slow half of `header.addresses`, loaded for lists that are not plain, and for fields in which an address changes.
"""

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical, end_of_quoted, joined, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Parser:
    """One pass over an address list; each step of the loop consumes one lexical token.

    spans: where each of the addresses stands in the text, as (start, end), without its display name; comments and blanks
    around it do not count, those within it do.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[str] = []
        self.spans: list[tuple[int, int]] = []
        self.words: list[str] = []
        self.angle: list[str] | None = None
        self.closed = False
        self.in_group = False
        self._start = self._stop = -1

    @property
    def _tokens(self) -> list[str]:
        """Those of the address itself, as far as is known: within the brackets, where there are any."""
        return self.words if self.angle is None else self.angle

    def mailboxes(self) -> list[str]:
        """The canonical addresses. Raises AddressError on what is no address list."""
        position, text = 0, self.text
        while position < len(text):
            char = text[position]
            if char == '"':
                end = end_of_quoted(text, position)
                self._add(text[position:end], position)
            elif char == "(":
                end = _end_of_comment(text, position)
                self._add(" ", position)
            elif char == "[":
                end = text.find("]", position) + 1
                if not end:
                    raise AddressError(f"'[' without ']' in address list {shown(text)}")
                self._add(text[position:end], position)
            else:
                end = position + 1
                self._special(char, position) if char in "<>:;," else self._add(char, position)
            position = end
        self._finish()
        return self.found

    def _add(self, token: str, position: int) -> None:
        blank = token.isspace()
        if self.closed:
            if not blank:
                raise AddressError(f"text after '>' in address list {shown(self.text)}")
            return
        tokens = self._tokens
        if tokens or not blank:
            tokens.append(token)
        if not blank and self.angle is None:
            self._start = position if self._start < 0 else self._start
            self._stop = position + len(token)

    def _special(self, char: str, position: int) -> None:
        if char == "<":
            if self.angle is not None:
                raise AddressError(f"two '<' for one address in {shown(self.text)}")
            self.angle = []
            self._start = position + 1
        elif char == ">":
            if self.angle is None or self.closed:
                raise AddressError(f"'>' without '<' in address list {shown(self.text)}")
            self.closed = True
            self._stop = position
        elif char == ":":
            self._colon()
        elif char == "," and not self.closed and self._in_route():
            self._add(",", position)
        else:
            if char == ";" and not self.in_group:
                raise AddressError(f"';' outside a group in address list {shown(self.text)}")
            self._finish()
            if char == ";":
                self.in_group = False

    def _in_route(self) -> bool:
        """Whether what was read so far begins a source route (RFC 5321 appendix C), in which commas do not part addresses."""
        return self._tokens[:1] == ["@"]

    def _colon(self) -> None:
        if self._in_route():
            self._tokens.clear()
        elif self.angle is not None or self.in_group or "@" in self.words:
            raise AddressError(f"':' within an address in {shown(self.text)}")
        else:
            self.words.clear()
            self.in_group = True
            self._start = -1

    def _finish(self) -> None:
        if self.angle is not None and not self.closed:
            raise AddressError(f"'<' without '>' in address list {shown(self.text)}")
        bare = joined("".join(self._tokens))
        if bare:
            self.found.append(canonical(bare))
            self.spans.append((self._start, self._stop))
        self.words, self.angle, self.closed, self._start = [], None, False, -1


def changed(field: bytes, change: "Callable[[str], str]") -> bytes:
    """A header field with each of its addresses as `change` gives it for the canonical one; where that is the same, and in
    names, comments and folds, it stays as it was written. Raises AddressError when the field is no address list."""
    name, colon, value = field.partition(b":")
    text = value.decode("utf-8", "surrogateescape")
    parser = Parser(text)
    out, position = "", 0
    for address, (start, stop) in zip(parser.mailboxes(), parser.spans, strict=True):
        new = change(address)
        if new != address:
            out += text[position:start] + new
            position = stop
    return name + colon + (out + text[position:]).encode("utf-8", "surrogateescape")


def _end_of_comment(text: str, start: int) -> int:
    depth, position = 0, start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    raise AddressError(f"parenthesis is not closed in {shown(text)}")
