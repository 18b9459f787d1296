"""Passes: one over what is due, or one after the other for ever."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from smartrelay import config as configuration
from smartrelay import settings
from smartrelay.cli import idle
from smartrelay.cli.caller import Common
from smartrelay.errors import EX_CONFIG, EX_IOERR, EX_OK, ConfigError, UsageError
from smartrelay.spool import access, names

if TYPE_CHECKING:
    from smartrelay.mail.envelope import Envelope
    from smartrelay.maillog import MailLog
    from smartrelay.relay.report import Report
    from smartrelay.routing.relays import Routes
    from smartrelay.sinks import Sink
    from smartrelay.smtp.transcript import Listener
    from smartrelay.spool.queue import Queue


class Wish(NamedTuple):
    """What a pass is told to do. ids: only these; everything: whatever is not held. like: only those that have `like[1:]` in
    the queue id, a recipient or the sender, as `like[0]` says: I, R or S."""

    ids: frozenset[str] = frozenset()
    domain: str = ""
    sender: str = ""
    everything: bool = False
    like: str = ""

    @property
    def told(self) -> bool:
        """Whether this is more than a plain pass: then a busy lock is an error."""
        return bool(self.ids or self.domain or self.sender or self.everything or self.like)

    @property
    def chosen(self) -> "Callable[[Envelope, str], bool] | None":
        """Which messages, None for all."""
        if not (self.ids or self.domain or self.sender or self.like):
            return None
        from smartrelay.mail.address import domain_of

        def wanted(envelope: "Envelope", one: str) -> bool:
            return (
                (not self.ids or one in self.ids)
                and (not self.sender or envelope.reverse_path.lower() == self.sender)
                and (not self.domain or any(domain_of(r.address) == self.domain for r in envelope.recipients))
                and (not self.like or self._is_like(envelope, one))
            )

        return wanted

    def _is_like(self, envelope: "Envelope", one: str) -> bool:
        part = self.like[1:].lower()
        texts = {"I": [one], "S": [envelope.reverse_path], "R": [recipient.address for recipient in envelope.recipients]}
        return any(part in text.lower() for text in texts[self.like[0]])


class Passes:
    """The passes of one call of the command. ENDS: the signals that end a pass in good order."""

    ENDS: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self, common: Common, wish: Wish, *, wait: float, fail_if_busy: bool, as_json: bool) -> None:
        self._common = common
        self._wish = wish
        self._wait = wait
        self._fail_if_busy = fail_if_busy or wish.told
        self._as_json = as_json
        self._config: configuration.Config | None = None
        self._routes: Routes | None = None
        self._wrong: ConfigError | None = None
        self._seen_idle: int | None = None
        self._signal = 0
        self._listener: Listener | None = None
        self._doorway: AbstractContextManager[object] = nullcontext()

    def run(self, every: float | None = None, *, listen: bool = False) -> int:
        """One pass, or passes until a signal comes, `every` seconds apart; the exit code. listen: the submission sockets are
        served meanwhile. Raises what `once` raises, and CannotCreate for a socket that cannot be opened."""
        if listen:
            from smartrelay.cli.doorway import Doorway

            self._doorway = Doorway(self._common)
        self._prepare(for_ever=every is not None)
        gc.freeze()
        gc.enable()
        return self.once() if every is None else self.repeat(every)

    def _prepare(self, *, for_ever: bool) -> None:
        """Reads what only the caller may read (for one pass, only if there is something to do), then becomes the spool's
        owner.

        What is wrong with the configuration is kept for later: first the spool must come to rest (design 2.4).
        """
        found = settings.load(self._common.config, self._common.spool)
        self._spool = found.spool
        try:
            self._config = configuration.load(self._common.config, self._common.spool)
            if os.geteuid() == 0 and (for_ever or not self._is_idle_for_root()):
                self._read_routes()
                if access.changes_owner(found.spool):
                    _load_all(self._routes)
        except ConfigError as error:
            self._wrong = error
            if os.geteuid() == 0 and access.changes_owner(found.spool):
                _load_all(None)
        access.enter(found.spool, direct=found.direct)

    def _is_idle_for_root(self) -> bool:
        """Whether there is nothing to do, so that no secret has to be fetched."""
        try:
            # what comes in from here on is for the next pass: this one has no secrets, and will not look twice
            self._seen_idle = None if self._wish.told else idle.waiting(self._spool, self._horizon)
        except OSError:
            return False
        return self._seen_idle is not None

    def _read_routes(self) -> None:
        if self._routes is None and self._config is not None:
            from smartrelay.routing.relays import Routes

            self._routes = Routes.of(self._config)

    @property
    def _horizon(self) -> float:
        return self._config.horizon if self._config is not None else names.SANE_FUTURE

    def once(self) -> int:
        """One pass; the exit code. Raises PassInProgress where a busy lock is an error."""
        if not self._wish.told:
            waiting = self._seen_idle if self._seen_idle is not None else names.idle(self._spool, time.time(), self._horizon)
            if waiting is not None:
                if self._wrong is not None:
                    raise self._wrong
                self._tell_idle(waiting)
                return EX_OK
        from smartrelay.spool.lock import pass_lock
        from smartrelay.spool.trouble import PassInProgress

        try:
            with pass_lock(self._spool, self._wait):
                return self._locked()
        except PassInProgress as busy:
            if self._fail_if_busy:
                raise
            self._common.say(f"{busy}; it takes along what is due")
            return EX_OK

    def _tell_idle(self, waiting: int) -> None:
        if self._as_json:
            import json

            from smartrelay.relay.report import Report

            print(json.dumps(Report(waiting=waiting).as_dict()))
        elif self._common.verbosity > 0:
            self._common.say(f"nothing is due; {waiting} messages wait")

    def _locked(self) -> int:
        from smartrelay.spool.queue import Queue

        log = self._open_log()
        queue = Queue(self._spool, horizon=self._horizon, warn=log.error)
        queue.must_be_writable()
        try:
            self._read_routes() if self._wrong is None else None
        except ConfigError as error:
            self._wrong = error
        if self._wrong is not None or self._config is None or self._routes is None:
            # new/ must come to rest, or the unit that watches it would start us again at once
            queue.take_in(self._wish.chosen)
            wrong = self._wrong or ConfigError("no configuration")
            self._note(wrong, log)
            raise wrong
        if not self._routes.hops:
            queue.take_in(self._wish.chosen)
            count = queue.count_waiting()
            kept = f"{count} message is" if count == 1 else f"{count} messages are"
            raise ConfigError(f"no relay is configured, so {kept} kept; add a [[relay]] to {self._config.file}")
        self._must_exist(queue)
        return self._relay(queue, self._config, self._routes, log)

    def _note(self, wrong: ConfigError, log: "MailLog") -> None:
        """That no pass can be made; the next one that can ends this incident."""
        from smartrelay.spool.incidents import CONFIGURATION, Incidents

        incidents = Incidents(self._spool, clock=time.time, warn=log.warning)
        incidents.note(CONFIGURATION, "", str(wrong))
        incidents.save()

    def _open_log(self) -> "MailLog":
        from smartrelay.maillog import MailLog

        return MailLog(self._open_sink())

    def _open_sink(self) -> "Sink":
        from smartrelay.sinks import AUTO, open_sink

        where = self._config.log if self._config is not None else AUTO
        return open_sink("relay", where, quiet=self._common.verbosity < 0)

    def _must_exist(self, queue: "Queue") -> None:
        """Ids that a person named must be there (66)."""
        for one in self._wish.ids:
            if queue.get_path(one).split("/")[-2] == names.HOLD:
                raise UsageError(f"{one} is held; `smartrelay queue release {one}` takes it back")

    def _relay(self, queue: "Queue", config: "configuration.Config", routes: "Routes", log: "MailLog") -> int:
        from smartrelay.relay.budget import Budgets
        from smartrelay.relay.hosts import Hosts
        from smartrelay.relay.manager import (
            SmartHostESMTPRelayingManager,
            SmartHostSMTPRelayingManager,
            _checkState,
        )

        plain = all(hop.protocol == "smtp" for hop in routes.hops)
        kind = SmartHostSMTPRelayingManager if plain else SmartHostESMTPRelayingManager
        hosts = Hosts.of(config, routes, log.warning, forgiving=self._wish.everything)
        with self._progress() as progress:
            manager = kind(
                queue,
                routes,
                hosts,
                config,
                log,
                wanted=self._wish.chosen,
                everything=self._wish.everything,
                progress=progress,
                budgets=Budgets.of(config, log.warning),
                listener=self._listener,
            )
            with self._signals(manager.stop):
                report = _checkState(manager)
        self._tell(report)
        if report.sent or report.deferred or report.bounced or report.offline:
            log.info(f"pass: {report.sentence()}, connections: {report.connections}")
        if self._signal:
            self._die_by_signal()
        return EX_IOERR if report.failed else EX_CONFIG if report.misconfigured else EX_OK

    def _tell(self, report: "Report") -> None:
        if self._as_json:
            import json

            print(json.dumps(report.as_dict()))
        else:
            for sentence in report.trouble:
                self._common.say(sentence)
            self._common.say(report.sentence())

    @contextmanager
    def _progress(self) -> "Iterator[Callable[[Report, int], None]]":
        """A progress bar where a person looks on."""
        if not sys.stderr.isatty() or self._common.verbosity < 0 or self._as_json:
            yield lambda report, backlog: None
            return
        from smartrelay.cli.progress import progress_bar

        with progress_bar() as update:
            yield update

    @contextmanager
    def _signals(self, end: Callable[[], None]) -> Iterator[None]:
        """SIGTERM and the like end the pass in good order; the second one at once."""

        def stop(number: int, frame: object) -> None:
            self._signal = number
            end()

        before = {number: signal.signal(number, stop) for number in self.ENDS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _die_by_signal(self) -> None:
        """Ends as the signal would have ended us, so that shells and systemd see what happened; threads that still hang in
        the system's resolver do not hold us up."""
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(self._signal, signal.SIG_DFL)
        os.kill(os.getpid(), self._signal)

    def repeat(self, every: float) -> int:
        """Passes until a signal comes (`--every`)."""
        from smartrelay.errors import SmartRelayError
        from smartrelay.relay.timer import RelayStateHelper

        def check() -> None:
            try:
                self.once()
            except (SmartRelayError, OSError) as error:
                # a container's loop must outlive a full disk or a relay that is not configured yet
                self._common.say(str(error))

        helper = RelayStateHelper(check, every, lambda: bool(os.listdir(f"{self._spool}/{names.NEW}")))

        with self._signals(helper.stop), self._doorway:
            helper.start()
        if self._signal:
            self._die_by_signal()
        return EX_OK


def _load_all(routes: "Routes | None") -> None:
    """Imports what a pass needs while root can: the interpreter may lie where the spool's owner cannot read it."""
    import encodings.idna  # noqa: F401

    import smartrelay.relay.from_policy
    import smartrelay.relay.manager
    import smartrelay.smtp.recode  # noqa: F401
    from smartrelay.spool import lock

    lock.load()
    if routes is not None and routes.ask_for_exchangers:
        from smartrelay.routing import resolver

        resolver.load()
