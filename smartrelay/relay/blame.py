"""Who is to blame: the one table from (phase, answer) to (scope, verdict) (law 5).

HOST: this server, for all mail that would go to it. ACCOUNT: our own configuration or password at this relay; it holds
the relay's mail and never bounces any. MESSAGE: this message, at any recipient. RECIPIENT: this one recipient. Whatever
the table does not know defers the message: only a plain no may bounce (law 2).
"""

from enum import Enum
from typing import NamedTuple

from smartrelay.mail.status import ASKED, DEFERRED, DELIVERED, FAILED, OURS, Status, deferred, printable
from smartrelay.smtp.dialogue import Answer, Phase, Trouble


class Scope(Enum):
    """Whose fault an answer is."""

    HOST = "host"
    ACCOUNT = "account"
    MESSAGE = "message"
    RECIPIENT = "recipient"


class Judgement(NamedTuple):
    """What an answer means. scope is None where there is nothing to blame."""

    scope: Scope | None
    status: Status


_H, _A, _M, _R = Scope.HOST, Scope.ACCOUNT, Scope.MESSAGE, Scope.RECIPIENT
_OURS = (Trouble.NO_ROOM, Trouble.UNTOUCHED, Trouble.STOPPED)
_TEXT_SENT = (Phase.END, Phase.CHUNK)
_OPENING = (Phase.LOOKUP, Phase.CONNECT, Phase.GREETING, Phase.EHLO)

_BY_REPLY: dict[tuple[Phase, int], tuple[Scope | None, str]] = {
    # a greeting or EHLO of 5yz from a relay that was chosen by name is its mistake (a blocklist, say), not our mail's
    **{(phase, kind): (_H, DEFERRED) for phase in _OPENING for kind in (2, 3, 4, 5)},
    (Phase.STARTTLS, 4): (_H, DEFERRED),
    (Phase.STARTTLS, 5): (_A, DEFERRED),
    (Phase.AUTH, 4): (_H, DEFERRED),
    (Phase.AUTH, 5): (_A, DEFERRED),
    (Phase.RSET, 4): (_H, DEFERRED),
    (Phase.RSET, 5): (_H, DEFERRED),
    (Phase.MAIL, 4): (_M, DEFERRED),
    (Phase.MAIL, 5): (_M, FAILED),
    (Phase.RCPT, 2): (None, DELIVERED),
    (Phase.RCPT, 4): (_R, DEFERRED),
    (Phase.RCPT, 5): (_R, FAILED),
    (Phase.DATA, 4): (_M, DEFERRED),
    (Phase.DATA, 5): (_M, FAILED),
    (Phase.END, 2): (None, DELIVERED),
    (Phase.END, 4): (_M, DEFERRED),
    (Phase.END, 5): (_M, FAILED),
    (Phase.CHUNK, 2): (None, DELIVERED),
    (Phase.CHUNK, 4): (_M, DEFERRED),
    (Phase.CHUNK, 5): (_M, FAILED),
}
"""RCPT 2yz is never the last answer for a recipient: the answer to the message is. It stands here for completeness."""

_BY_CODE: dict[tuple[Phase, int], tuple[Scope, str]] = {
    **{(phase, 530): (_A, DEFERRED) for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, *_TEXT_SENT)},
    **{(phase, 421): (_H, DEFERRED) for phase in Phase},
}

_BY_TROUBLE: dict[Trouble, tuple[Scope, str, str]] = {
    Trouble.NO_HOST: (_H, DEFERRED, "4.4.3"),
    Trouble.NO_ROUTE: (_H, DEFERRED, "4.4.1"),
    Trouble.NO_NETWORK: (_H, DEFERRED, "4.4.1"),
    Trouble.NO_ROOM: (_M, DEFERRED, "4.3.0"),
    Trouble.TIMEOUT: (_H, DEFERRED, "4.4.2"),
    Trouble.LOST: (_M, DEFERRED, "4.4.2"),
    Trouble.PROTOCOL: (_M, DEFERRED, "4.5.0"),
    Trouble.LOOP: (_H, DEFERRED, "4.4.6"),
    Trouble.TLS: (_H, DEFERRED, "4.7.5"),
    Trouble.NO_TLS: (_A, DEFERRED, "4.7.4"),
    Trouble.CERTIFICATE: (_A, DEFERRED, "4.7.5"),
    Trouble.NO_MECHANISM: (_A, DEFERRED, "4.7.4"),
    Trouble.CONFIGURATION: (_A, DEFERRED, "4.3.5"),
    Trouble.UNTOUCHED: (_M, DEFERRED, "4.3.0"),
    Trouble.STOPPED: (_M, DEFERRED, "4.3.2"),
    Trouble.CONTENT: (_M, FAILED, "5.6.0"),
}

LONGEST_TEXT = 500
"""Characters of an answer that are kept: the journal reserves room for them, and notices stay within RFC 5322's lines."""

_BEFORE_MAIL = frozenset({*_OPENING, Phase.STARTTLS, Phase.TLS, Phase.AUTH})


def judge(answer: Answer, host: str, *, exchanger: bool = False) -> Judgement:
    """What `answer` means for whom; host: who was asked, for the record. exchanger: it is one of the recipient's domain, where
    we have no account: what would be our account's fault at a relay is the host's there, and 530 a no like any other."""
    if answer.trouble is not None:
        found = _judge_trouble(answer, host)
        if exchanger and found.scope is _A:
            return Judgement(_H, found.status._replace(basis=ASKED))
        return found
    reply = answer.reply
    if reply is None:
        # a text that cannot be read, or a bug: nobody was asked
        return Judgement(_M, deferred("4.3.0", _kept(answer.text or "no answer"), host=host, phase=answer.phase))
    key = (answer.phase, reply.code)
    scope, action = _BY_CODE.get(key) or _BY_REPLY.get((answer.phase, reply.kind), (_M, DEFERRED))
    if exchanger and scope is _A:
        scope, action = _BY_REPLY[answer.phase, reply.kind] if answer.phase not in _BEFORE_MAIL else (_H, DEFERRED)
    dsn = reply.enhanced
    if action == DEFERRED and not dsn.startswith("4"):
        # a no that we do not take for final must not look final in the log
        dsn = "4" + dsn[1:]
    basis = OURS if scope is _A else ASKED
    return Judgement(scope, Status(action, dsn, _kept(reply.text), reply.code, host, answer.phase, basis=basis))


def _judge_trouble(answer: Answer, host: str) -> Judgement:
    trouble = answer.trouble
    scope, action, dsn = _BY_TROUBLE[trouble] if trouble is not None else (_M, DEFERRED, "4.3.0")
    text = answer.text
    if trouble is Trouble.CONTENT:
        dsn, _, text = text.partition(" ")
    if trouble is Trouble.PROTOCOL and answer.phase is Phase.STARTTLS:
        dsn = "4.7.0"  # somebody on the way, perhaps (RFC 3207 section 6)
    if trouble in (Trouble.LOST, Trouble.PROTOCOL) and answer.phase in _BEFORE_MAIL:
        scope = _H
    doubt = answer.phase in _TEXT_SENT and trouble in (Trouble.LOST, Trouble.TIMEOUT, Trouble.PROTOCOL, Trouble.STOPPED)
    if doubt:
        scope = _M
        text += "; the server may have taken it, so it may be delivered twice"
    basis = OURS if scope is _A or trouble in _OURS else ASKED
    return Judgement(scope, Status(action, dsn, _kept(text), 0, host, answer.phase, doubt, basis))


def _kept(text: str) -> str:
    return printable(text, LONGEST_TEXT)
