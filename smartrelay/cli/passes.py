"""Passes: one over what is due, or one after the other for ever."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from smartrelay import config as configuration
from smartrelay import settings
from smartrelay.cli import idle
from smartrelay.cli.caller import Common
from smartrelay.cli.wish import Wish
from smartrelay.errors import EX_CONFIG, EX_IOERR, EX_OK, ConfigError, SmartRelayError, UsageError
from smartrelay.spool import access, names
from smartrelay.spool.totals import FAILED, MISCONFIGURED

if TYPE_CHECKING:
    from smartrelay.cli.herald import Herald
    from smartrelay.maillog import MailLog
    from smartrelay.relay.report import Report
    from smartrelay.routing.relays import Routes
    from smartrelay.sinks import Sink
    from smartrelay.smtp.transcript import Listener
    from smartrelay.spool.queue import Queue


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
            from smartrelay.cli import doorway

            self._doorway = doorway.opened(self._common)
        self._prepare(for_ever=every is not None)
        gc.freeze()
        gc.enable()
        return self.once() if every is None else self.repeat(every)

    def _prepare(self, *, for_ever: bool) -> None:
        """Reads what only the caller may read (for one pass, only if there is something to do), then becomes the spool's
        owner.

        What is wrong with the configuration is kept for later: first the spool must come to rest (design 2.4).
        """
        if self._as_json:
            import json  # noqa: F401

            import smartrelay.relay.report  # noqa: F401
        found = self._settings = settings.load(self._common.config, self._common.spool)
        self._spool = found.spool
        try:
            self._config = configuration.load(self._common.config, self._common.spool)
            if os.geteuid() == 0 and (for_ever or not self._is_idle_for_root()):
                self._read_routes()
                if access.changes_owner(found.spool):
                    _load_all(self._routes)
                    if self._config.alert is not None:
                        from smartrelay.relay import alert

                        alert.load()
        except ConfigError as error:
            self._wrong = error
            if os.geteuid() == 0 and access.changes_owner(found.spool):
                _load_all(None)
        access.enter(found.spool, direct=found.direct)

    def _is_idle_for_root(self) -> bool:
        """Whether there is nothing to do, so that no secret has to be fetched."""
        try:
            # what comes in from here on is for the next pass: this one has no secrets, and will not look twice
            self._seen_idle = None if self._wish.told or self._config is None else idle.waiting(self._config)
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
            if self._wrong is not None and names.idle(self._spool, time.time()) is not None:
                from smartrelay.cli.herald import Herald

                Herald(self._settings, self._config, self._common.say).end_without_work(MISCONFIGURED)
                raise self._wrong
            waiting = self._seen_idle
            if waiting is None and self._wrong is None and self._config is not None:
                waiting = idle.waiting(self._config)
            if waiting is not None:
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
        from smartrelay.cli.herald import Herald
        from smartrelay.spool.queue import Queue

        log = self._open_log()
        herald = Herald(self._settings, self._config, log.warning)
        queue = Queue(self._spool, horizon=self._horizon, warn=log.error)
        try:
            queue.must_be_writable()
            config, routes = self._must_be_configured(queue, log)
        except SmartRelayError as error:
            herald.end_without_work(MISCONFIGURED if isinstance(error, ConfigError) else FAILED)
            self._alert(herald)
            raise
        self._must_exist(queue)
        code = self._relay(queue, config, routes, log, herald)
        self._alert(herald)
        if self._signal:
            self._die_by_signal()
        return code

    def _alert(self, herald: "Herald") -> None:
        """Whoever sends us a signal is in haste; the next pass tells what is to be told."""
        if self._signal:
            return
        with self._signals(lambda: None):
            herald.alert(lambda: bool(self._signal))

    def _must_be_configured(self, queue: "Queue", log: "MailLog") -> "tuple[configuration.Config, Routes]":
        """What a pass goes by. Raises ConfigError, after it has taken in what is new: new/ must come to rest, or the unit that
        watches it would start us again at once."""
        try:
            self._read_routes() if self._wrong is None else None
        except ConfigError as error:
            self._wrong = error
        if self._wrong is not None or self._config is None or self._routes is None:
            queue.take_in(self._wish.chosen)
            wrong = self._wrong or ConfigError("no configuration")
            self._note(wrong, log)
            raise wrong
        if not self._routes.hops:
            queue.take_in(self._wish.chosen)
            count = queue.count_waiting()
            kept = f"{count} message is" if count == 1 else f"{count} messages are"
            raise ConfigError(f"no relay is configured, so {kept} kept; add a [[relay]] to {self._config.file}")
        return self._config, self._routes

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

    def _relay(self, queue: "Queue", config: "configuration.Config", routes: "Routes", log: "MailLog", herald: "Herald") -> int:
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
        with self._progress(herald) as progress:
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
            report = manager.report
            try:
                with self._signals(manager.stop):
                    _checkState(manager)
            except Exception:
                report.failed = True
                raise
            finally:
                herald.end(report, [host.until for host in hosts.memory.entries()])
        self._tell(report)
        if report.sent or report.deferred or report.bounced or report.offline:
            log.info(f"pass: {report.sentence()}, connections: {report.connections}")
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
    def _progress(self, herald: "Herald") -> "Iterator[Callable[[Report, int], None]]":
        """What a pass that goes on tells; a progress bar, too, where a person looks on."""
        if not sys.stderr.isatty() or self._common.verbosity < 0 or self._as_json:
            yield lambda report, backlog: herald.go_on(report)
            return
        from smartrelay.cli.progress import progress_bar

        def tell(report: "Report", backlog: int) -> None:
            update(report, backlog)
            herald.go_on(report)

        with progress_bar() as update:
            yield tell

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

    import smartrelay.cli.herald
    import smartrelay.relay.from_policy
    import smartrelay.relay.manager
    import smartrelay.smtp.recode  # noqa: F401
    from smartrelay.spool import lock

    lock.load()
    if routes is not None and routes.ask_for_exchangers:
        from smartrelay.routing import resolver

        resolver.load()
