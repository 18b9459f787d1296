"""Who asks the DNS, and what came of it: what a server or the network does is data here, never an exception.

Names are absolute: no search list and no /etc/hosts ever stands between a recipient's domain and its mail exchangers
(RFC 5321 section 5.1).

dnspython is loaded by the first question: a pass that asks none does not pay for it.
"""

import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from smartrelay.routing.nameserver import of_system, parse
from smartrelay.routing.reply import ALIAS, ANSWER, NO_DATA, NO_SUCH_NAME, TEMPORARY, UNREACHABLE, Question, Reply

if TYPE_CHECKING:
    from smartrelay.routing.lookup import Lookup

__all__ = [
    "ALIAS",
    "ANSWER",
    "NO_DATA",
    "NO_SUCH_NAME",
    "TEMPORARY",
    "UNREACHABLE",
    "DNSResolver",
    "Question",
    "Recorder",
    "Reply",
    "Resolver",
    "load",
]

AT_ONCE = 8
"""Questions of one call that are on their way side by side: each has a socket."""


class Resolver(Protocol):
    """Who answers questions; many threads may ask at once."""

    def ask(self, name: str, kind: str) -> Reply:
        """What came of asking for records of `kind` at the absolute `name`; one step of an alias, never more."""

    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """What came of each, in their order; they may be on their way side by side."""


class Recorder:
    """Passes questions on to a resolver, and keeps every reply, in the order of the questions."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.replies: list[Reply] = []

    def ask(self, name: str, kind: str) -> Reply:
        """What the resolver says."""
        return self.ask_all([Question(name, kind)])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """What the resolver says to each."""
        replies = self._resolver.ask_all(questions)
        for reply in replies:
            self.replies += [reply._replace(further=()), *reply.further]
        return replies


class _Entry:
    """One question: who asks has the lock. kept: nobody need ask again."""

    def __init__(self, question: Question) -> None:
        self.lock = threading.Lock()
        self.reply = Reply(question, UNREACHABLE)
        self.kept = False


class DNSResolver:
    """Asks DNS servers that recurse. What they said, good or bad, is kept as long as this object lives: one pass (B-028).

    nameservers: "127.0.0.1:5300"; those of the system where there are none. timeout: seconds for what is asked in one call,
    all servers and repetitions together. first_wait: seconds in which a server must answer before the next is asked, doubled
    in each further round. most_kept: replies kept at once; ten thousand, of three thousand domains, are some 10 MB. Raises
    ConfigError.

    grace: seconds for a name's addresses of one family after those of the other came. RFC 8305 section 3 waits 50 ms, for a
    person in front of a browser, and what comes later can still be used. Nobody waits here, and what comes later is lost for
    the pass; in two seconds comes whatever is not lost on its way.

    silent_timeout: seconds in place of `timeout` after no server answered any question for the whole time of a call, until
    one answers again. They are dead most likely, and each further domain of the pass would wait for them in vain. Five seconds
    have room for a repetition after two.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        timeout: float = 30.0,
        *,
        first_wait: float = 2.0,
        grace: float = 2.0,
        silent_timeout: float = 5.0,
        most_kept: int = 10_000,
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._servers = tuple(parse(text) for text in nameservers) or of_system(resolv_conf)
        self._first_wait, self._grace, self._most_kept = first_wait, grace, most_kept
        self._timeout, self._silent_timeout = timeout, min(timeout, silent_timeout)
        # By time.monotonic: when any server answered last, and when the last call began whose time ran out.
        self._heard = self._missed = -math.inf
        self._lock = threading.Lock()
        self._kept: dict[Question, _Entry] = {}

    def ask(self, name: str, kind: str) -> Reply:
        """What came of the question; asked once, however many threads want to know."""
        return self.ask_all([Question(name, kind)])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """What came of each question, eight at a time: each eight have an equal share of the time that is left."""
        load()  # while no lock is held
        wanted = [Question(name.removesuffix(".").lower(), kind) for name, kind in questions]
        began = time.monotonic()
        end = began + (self._silent_timeout if self._missed > self._heard else self._timeout)
        replies: list[Reply] = []
        for first in range(0, len(wanted), AT_ONCE):
            now, shares = time.monotonic(), math.ceil((len(wanted) - first) / AT_ONCE)
            replies += self._ask_some(wanted[first : first + AT_ONCE], now + (end - now) / shares)
        if time.monotonic() >= end:
            self._missed = max(self._missed, began)
        return replies

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _ask_some(self, questions: Sequence[Question], end: float) -> list[Reply]:
        """What nobody else is asking is asked together, and what others ask is waited for then: who waits holds no lock."""
        entries = {question: self._entry(question) for question in questions}
        ours = {question: entry for question, entry in entries.items() if entry.lock.acquire(blocking=False)}
        others = {question: entry for question, entry in entries.items() if question not in ours}
        self._look_up(ours, end)
        for question, entry in others.items():
            entry.lock.acquire()
            self._look_up({question: entry}, end)
        return [entries[question].reply for question in questions]

    def _entry(self, question: Question) -> _Entry:
        with self._lock:
            if len(self._kept) >= self._most_kept and question not in self._kept:
                self._kept.clear()
            return self._kept.setdefault(question, _Entry(question))

    def _look_up(self, locked: dict[Question, _Entry], end: float) -> None:
        """Asks for those that have no reply to keep. Their locks are held, and each is released when its reply is there."""
        from smartrelay.routing.lookup import Lookup, finish

        lookups: list[Lookup] = []
        try:
            for question, entry in tuple(locked.items()):
                if entry.kept:
                    locked.pop(question).lock.release()
                else:
                    lookups.append(Lookup(question, self._servers, end, self._first_wait, self._hear))
            for lookup, reply in finish(lookups):
                self._settle(locked.pop(lookup.question), reply, lookup)
                if reply.has_address:
                    for other in lookups:
                        if other.question.name == reply.question.name:
                            other.hurry(time.monotonic() + self._grace)
        finally:
            for lookup in lookups:
                lookup.close()
            for entry in locked.values():
                entry.lock.release()

    def _settle(self, entry: _Entry, reply: Reply, lookup: "Lookup") -> None:
        entry.reply = reply
        # A way to a server may come back at any moment; and where the time was over, it was that of one domain, whose
        # slow names must not cost another domain anything.
        entry.kept = reply.outcome != UNREACHABLE and (reply.outcome != TEMPORARY or lookup.is_final)
        entry.lock.release()
        if lookup.silent:  # later questions need not wait for these servers first
            with self._lock:
                self._servers = tuple(sorted(self._servers, key=lookup.silent.__contains__))


def load() -> None:
    """Imports all that a question needs, so that none fails for it later.

    The interpreter may lie where only root can read it, and root becomes another user before it asks anything.
    """
    import smartrelay.routing.lookup  # noqa: F401
