"""One question to the DNS and what came of it, as data."""

from typing import Any, NamedTuple

ANSWER, ALIAS, NO_DATA, NO_SUCH_NAME = "answer", "alias", "no data", "no such name"
TEMPORARY, UNREACHABLE = "temporary", "unreachable"


class Question(NamedTuple):
    """name: absolute, in lower case, without trailing dot. kind: "MX", "A" or "AAAA"."""

    name: str
    kind: str


class Reply(NamedTuple):
    """What came of one question.

    outcome: ANSWER (there are records), ALIAS (the name stands for `canonical`, to be asked for instead), NO_DATA (the name
    is there, without records of this kind), NO_SUCH_NAME, TEMPORARY (nobody could tell now) or UNREACHABLE (there is no way to
    any server, and that was known at once). records: (preference, host) for MX, the root as "."; address texts for A and AAAA;
    in the order of the server. text: one line for a person. further: what the same answer tells of the names that the alias
    leads to; it may be trusted for this question, and for no other.
    """

    question: Question
    outcome: str
    records: tuple[Any, ...] = ()
    canonical: str = ""
    text: str = ""
    further: "tuple[Reply, ...]" = ()

    @property
    def has_address(self) -> bool:
        """Whether the question was for addresses, and there are some, at the end of an alias perhaps."""
        return self.question.kind != "MX" and any(each.outcome == ANSWER for each in (self, *self.further))
