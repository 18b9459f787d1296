"""The course of one next hop's mail: which host it is handed to, and where it goes on to when that one fails."""

import threading
import time
from collections.abc import Callable

from smartrelay.mail.status import ASKED, DEFERRED, FAILED, OURS, REMEMBERED, Status, deferred
from smartrelay.relay.blame import Judgement, Scope
from smartrelay.relay.hosts import Hosts
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import NextHop
from smartrelay.routing.trouble import LookupFailed, RoutingError, Unreachable
from smartrelay.smtp.dialogue import Answer, Phase, Trouble

Stop = tuple[int, Candidate]

END = 1 << 30
"""The stop behind the last."""

_NO_MAIL_HERE = (Phase.GREETING, Phase.EHLO)

_PATIENCE = 1800.0
"""Seconds for which hosts may keep us waiting, one after the other, before the rest is left to another pass, which begins with
those that have not failed. Whoever lists twenty exchangers that hang would keep this one for a day (law 7)."""


class Course:
    """The hosts of `hop` in this pass: no message is taken to one that has failed before. Safe in threads.

    clock: seconds, for what a host costs. stranded: this machine is offline, so nothing can be said of any host.
    """

    def __init__(self, hop: NextHop, hosts: Hosts, clock: Callable[[], float] = time.monotonic) -> None:
        self._hop = hop
        self._hosts = hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._stops: list[Candidate] | None = None
        self._left: set[int] = set()
        self._failed: set[int] = set()  # those that the memory for bad hosts has been told of
        self._reasons: dict[int, Status] = {}
        self._refused: set[int] = set()
        self._begun: dict[int, float] = {}
        self._waited = 0.0
        self._loops = False
        self._nowhere: Status | None = None
        self.stranded = False

    def from_stop(self, number: int) -> Stop | None:
        """The first host from `number` on that may be connected to now, those that have failed in this pass behind the others;
        None where there is none (`reason` has why)."""
        with self._lock:
            stops = self._found()
            for at in sorted(range(number, len(stops)), key=self._failed.__contains__):
                if at in self._left:
                    continue
                if self._waited > _PATIENCE:
                    return None
                if self._hosts.may_connect(stops[at], again=at in self._failed):
                    self._refused.discard(at)
                    self._begun[at] = self._clock()
                    return at, stops[at]
                if at not in self._refused:
                    self._reasons[at] = self._hosts.remembered(stops[at])
            return None

    def begin_again(self) -> None:
        """All mail that waited has been put off. What comes in from now on may be taken to a host that has failed, as soon as
        the memory lets anybody: a pass can last for hours, and a host may be back in a minute."""
        with self._lock:
            self._left -= self._failed
            self._waited = 0.0

    def _found(self) -> list[Candidate]:
        if self._stops is None:
            self._stops = []
            try:
                self._stops = self._hosts.candidates(self._hop)
            except Unreachable as trouble:
                self.stranded = True
                self._nowhere = Status(DEFERRED, trouble.dsn, trouble.text)
            except RoutingError as trouble:
                self._nowhere = self._judged(trouble)
        return self._stops

    def _judged(self, trouble: RoutingError) -> Status:
        """What it means that there are no hosts. Those of a recipient's domain are its own affair; those of a relay are our
        configuration, and what is wrong with that holds the mail (law 5)."""
        if self._hop.domain or isinstance(trouble, LookupFailed):
            return Status(FAILED if trouble.permanent else DEFERRED, trouble.dsn, trouble.text)
        return deferred("4" + trouble.dsn[1:], trouble.text)

    def leave(self, number: int, judgement: Judgement, answer: Answer | None) -> bool:
        """The host at `number` is of no more use in this pass; False where that was known. answer: where it was its last word
        before a session stood."""
        with self._lock:
            stops = self._found()
            if number in self._left or number >= len(stops):
                return False
            self._left.add(number)
            self._reasons[number] = judgement.status
            if answer is not None and number in self._begun:
                self._waited += self._clock() - self._begun.pop(number)
            if answer is not None and answer.trouble is Trouble.LOOP:
                self._leave_ours(number)
            elif answer is not None and self._hosts.is_out_of_reach(stops[number], answer):
                self.stranded = True
            elif judgement.scope is Scope.HOST:
                self._hosts.failed(stops[number], judgement)
                self._failed.add(number)
            if answer is not None and answer.phase in _NO_MAIL_HERE and answer.kind == 5:
                self._refused.add(number)
            return True

    def _leave_ours(self, number: int) -> None:
        """The exchanger at `number` is this host: those that are no better would hand the mail back to us (RFC 5321 section
        5.1), and where there is no better one the mail has nowhere to go."""
        stops = self._found()
        ours = stops[number].preference
        self._left |= {at for at, stop in enumerate(stops) if stop.exchanger and stop.preference >= ours}
        self._loops = all(stop.exchanger and stop.preference >= ours for stop in stops)

    def reason(self, number: int = 0) -> Status:
        """Why no host from `number` on is left: what the last of them said.

        A domain whose every exchanger refuses all mail by a 5yz greeting takes none (RFC 5321 section 3.1); a relay that was
        chosen by name makes a mistake. Nor does one whose best exchanger is this host.
        """
        with self._lock:
            if self._nowhere is not None:
                return self._nowhere
            stops = self._found()
            last = self._reasons.get(max((at for at in self._reasons if at >= number), default=END))
            if last is None:
                return Status(DEFERRED, "4.4.4", "no host was found")
            if self._loops or (len(self._refused) == len(stops) and all(stop.exchanger for stop in stops)):
                return last._replace(action=FAILED, dsn="5" + last.dsn[1:])
            bases = {status.basis for at, status in self._reasons.items() if at >= number}
            # a relay that we could use but for our own account has not had its chance, whatever the others say
            return last._replace(basis=next(basis for basis in (OURS, ASKED, REMEMBERED) if basis in bases))

    def hosts(self, number: int = 0) -> list[str]:
        """The keys of the hosts from `number` on, where there are several: mail that was left without one waits for any."""
        with self._lock:
            found = [stop.key for stop in self._found()[number:]]
            return found if len(found) > 1 else []

    def detour(self, number: int) -> int | None:
        """The stop behind `number`, for one message that the host there will not take from its sender; None where that host's
        no is the domain's own, or the last."""
        stops = self._stops or []
        return number + 1 if number + 1 < len(stops) and not stops[number].exchanger else None
