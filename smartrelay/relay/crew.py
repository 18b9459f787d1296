"""The workers of a pass: threads, each at one next hop at a time, and how they are shared out."""

import errno
import threading
from collections import Counter

from smartrelay.config import Limits
from smartrelay.maillog import MailLog
from smartrelay.relay.attempt import _AttemptManager
from smartrelay.relay.report import Report

_SPARE = 4
"""One in so many connections is for next hops that have none: to one that hangs, all others may be lost for minutes."""

_BUGS = 3
"""Workers that a bug of ours has killed at one next hop, after which it is left alone in this pass: others would die as well,
one after the other for ever."""


class Crew:
    """Works at what it has taken on, within the limits: a worker for each next hop that has none, then one more wherever it is
    of use. One that has finished with a next hop goes on to another that has nobody.

    stopping: set when the pass is to end. alone: there is one next hop, so that none has to find room beside it.
    """

    def __init__(self, limits: Limits, stopping: threading.Event, report: Report, log: MailLog, *, alone: bool) -> None:
        self._most = limits.max_connections
        self._most_for_more = self._most if alone else self._most - -(-self._most // _SPARE)
        self._stopping = stopping
        self._report = report
        self._log = log
        self._changed = threading.Condition()
        self._unbegun: dict[_AttemptManager, None] = {}
        self._at_work: dict[_AttemptManager, None] = {}
        self._by_rule: Counter[str] = Counter()
        self._workers: set[threading.Thread] = set()
        self._bugs: Counter[_AttemptManager] = Counter()

    def take_on(self, attempt: _AttemptManager) -> None:
        """There is mail for this next hop."""
        if attempt in self._at_work or attempt in self._unbegun:
            return  # nearly always; and whoever leaves it looks whether more has come
        with self._changed:
            if attempt not in self._at_work and self._bugs[attempt] < _BUGS:
                self._unbegun[attempt] = None

    @property
    def backlog(self) -> int:
        """Messages that no worker has taken yet."""
        with self._changed:
            return sum(attempt.backlog for attempt in (*self._unbegun, *self._at_work))

    @property
    def is_done(self) -> bool:
        """Whether nobody works and nothing waits for a worker."""
        return not self._workers and not self._unbegun

    @property
    def may_change(self) -> bool:
        """Whether more workers may be of use soon, or fewer."""
        with self._changed:
            return len(self._workers) > 1 or (
                self._may_grow() and any(each.connections.are_too_few(each.backlog) for each in self._at_work)
            )

    def wait(self, seconds: float) -> None:
        """Until a worker has ended, but no longer than that."""
        with self._changed:
            self._changed.wait(seconds)

    def start(self) -> None:
        """Starts workers where they are of use, and lets one go where there are too many. Raises OSError where the system has
        not a single thread for us: with some, the pass is slower, and all of it is done."""
        with self._changed:
            for attempt in self._at_work:
                attempt.connections.look()
            # a pass that is to stop would start them for ever: they end at once, and their mail waits on
            while len(self._workers) < self._most and not self._stopping.is_set():
                begun = self._begin()
                if begun is None:
                    break
                worker = threading.Thread(target=self._work, args=(begun,), name=f"relay {begun.hop.title}", daemon=True)
                self._workers.add(worker)
                try:
                    worker.start()
                except RuntimeError as error:
                    self._workers.discard(worker)
                    self._leave(begun)
                    if not self._workers:
                        raise OSError(errno.EAGAIN, "the system lets this process have no further thread") from error
                    break

    def _may_grow(self) -> bool:
        """Whether a next hop may have more than one: where there are others, they must find room, whatever hangs here."""
        return len(self._workers) < self._most_for_more

    def _begin(self) -> _AttemptManager | None:
        """The next hop for which a worker is to work now, counted as having it; the lock is held."""
        found = next((each for each in self._unbegun if self._may_have_more(each) and not each.is_held_up), None)
        if found is not None:
            del self._unbegun[found]
            self._at_work[found] = None
        elif self._may_grow():
            # the one with the fewest first, so that they grow side by side
            found = min(
                (each for each in self._at_work if self._may_have_more(each) and each.wants_more),
                key=lambda each: each.connections.workers,
                default=None,
            )
        if found is not None:
            found.connections.workers += 1
            self._by_rule[found.hop.name] += 1
        return found

    def _may_have_more(self, attempt: _AttemptManager) -> bool:
        if self._bugs[attempt] >= _BUGS:
            return False
        most = attempt.hop.relay.max_connections
        return not most or self._by_rule[attempt.hop.name] < most

    def _work(self, attempt: _AttemptManager) -> None:
        """A worker's life: one next hop, then another that has nobody."""
        following: _AttemptManager | None = attempt
        while following is not None:
            at = following
            try:
                at.work()
            except Exception as error:
                # a dead worker defers what it had in hand (law 2); the pass goes on without it
                with self._changed:
                    self._bugs[at] += 1
                self._report.failed = True
                self._log.error(f"a bug of smartrelay: {type(error).__name__}: {error} at {_where(error)}")
            finally:
                following = self._after(at)

    def _after(self, attempt: _AttemptManager) -> _AttemptManager | None:
        """A worker has left this next hop; the one that it goes on to, if any."""
        with self._changed:
            self._leave(attempt)
            following = self._begin() if self._unbegun and not self._stopping.is_set() else None
            if following is None:
                self._workers.discard(threading.current_thread())
                self._changed.notify_all()
            return following

    def _leave(self, attempt: _AttemptManager) -> None:
        """There is one worker less at this next hop; the lock is held."""
        attempt.connections.left()
        self._by_rule[attempt.hop.name] -= 1
        if not attempt.connections.workers:
            del self._at_work[attempt]
            if attempt.backlog and self._bugs[attempt] < _BUGS:
                self._unbegun[attempt] = None


def _where(error: BaseException) -> str:
    """File and line that raised it."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "?"
