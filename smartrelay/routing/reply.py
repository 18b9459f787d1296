"""One question to the DNS and what came of it, as data."""

from typing import Any, NamedTuple

from smartrelay.routing import packet

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


def read_reply(question: Question, response: packet.Response) -> Reply | None:
    """The reply that an answer section holds, or None where it speaks of other names only.

    Records count for the name that was asked for, and for those that its alias leads to, step by step.
    """
    found: dict[tuple[str, str], list[Any]] = {}
    for record in response.records:
        found.setdefault((record.name, record.kind), []).append(record.value)
    replies: dict[str, Reply] = {}
    name, kind = question
    while name not in replies:
        records, aliases = found.get((name, kind)), found.get((name, "CNAME"))
        if records and response.code == packet.NOERROR:
            replies[name] = _answer(Question(name, kind), tuple(dict.fromkeys(records)))
        elif aliases:
            text = f"{kind} of {name}: an alias of {aliases[0]}"
            replies[name] = Reply(Question(name, kind), ALIAS, canonical=aliases[0], text=text)
            name = aliases[0]
        else:
            break
    if replies:
        first, *further = replies.values()
        return first._replace(further=tuple(further))
    if response.code == packet.NXDOMAIN:
        return Reply(question, NO_SUCH_NAME, text=f"{kind} of {name}: no such name")
    return Reply(question, NO_DATA, text=f"{kind} of {name}: none") if response.empty else None


def _answer(question: Question, records: tuple[Any, ...]) -> Reply:
    shown = [f"{record[0]} {record[1]}" if question.kind == "MX" else record for record in records[:20]]
    more = f" and {len(records) - 20} more" if len(records) > 20 else ""
    return Reply(question, ANSWER, records, text=f"{question.kind} of {question.name}: {', '.join(shown)}{more}")
