"""Address lists in full: groups, comments, quotes, folding, routes (RFC 5322 sections 3.4 and 4.4).

The slow half of `header.addresses`, loaded for lists that are not plain.
"""

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical, end_of_quoted, joined, shown


class Parser:
    """One pass over an address list; each step of the loop consumes one lexical token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[str] = []
        self.words: list[str] = []
        self.angle: list[str] | None = None
        self.closed = False
        self.in_group = False

    def mailboxes(self) -> list[str]:
        position, text = 0, self.text
        while position < len(text):
            char = text[position]
            if char == '"':
                end = end_of_quoted(text, position)
                self._add(text[position:end])
            elif char == "(":
                end = _end_of_comment(text, position)
                self._add(" ")
            elif char == "[":
                end = text.find("]", position) + 1
                if not end:
                    raise AddressError(f"'[' without ']' in address list {shown(text)}")
                self._add(text[position:end])
            else:
                end = position + 1
                self._special(char) if char in "<>:;," else self._add(char)
            position = end
        self._finish()
        return self.found

    def _add(self, token: str) -> None:
        if self.closed:
            if not token.isspace():
                raise AddressError(f"text after '>' in address list {shown(self.text)}")
        elif self.angle is not None:
            self.angle.append(token)
        else:
            self.words.append(token)

    def _special(self, char: str) -> None:
        if char == "<":
            if self.angle is not None:
                raise AddressError(f"two '<' for one address in {shown(self.text)}")
            self.angle = []
        elif char == ">":
            if self.angle is None or self.closed:
                raise AddressError(f"'>' without '<' in address list {shown(self.text)}")
            self.closed = True
        elif char == ":":
            self._colon()
        elif char == "," and (self._in_route() if not self.closed else False):
            self._add(",")
        else:
            if char == ";" and not self.in_group:
                raise AddressError(f"';' outside a group in address list {shown(self.text)}")
            self._finish()
            if char == ";":
                self.in_group = False

    def _in_route(self) -> bool:
        """Whether what was read so far begins a source route (RFC 5321 appendix C), in which commas do not part addresses."""
        return "".join(self.words if self.angle is None else self.angle).lstrip().startswith("@")

    def _colon(self) -> None:
        if self._in_route():
            (self.words if self.angle is None else self.angle).clear()
        elif self.angle is not None or self.in_group or "@" in self.words:
            raise AddressError(f"':' within an address in {shown(self.text)}")
        else:
            self.words.clear()
            self.in_group = True

    def _finish(self) -> None:
        if self.angle is not None and not self.closed:
            raise AddressError(f"'<' without '>' in address list {shown(self.text)}")
        bare = joined("".join(self.words if self.angle is None else self.angle))
        self.words, self.angle, self.closed = [], None, False
        if bare:
            self.found.append(canonical(bare))


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
