"""One domain of ten hangs, at each phase in turn: what that costs the other nine, and what comes in meanwhile."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import installed, spools
from benchmarks.figures import Figure
from benchmarks.process import Timing
from tests.support.certificates import Certificates, make_certificates
from tests.support.dns_server import SILENT
from tests.support.exchangers import Exchangers
from tests.support.smtp_script import Action, Answer, Session

ROUNDS, QUICK = 5, 1
_DOMAINS, _EACH, _MEANWHILE = 10, 100, 10
_OTHERS = _DOMAINS - 1
_HANGING = "d9.test"
_LATENCY = 0.02
# What never comes: an answer, a connection, or the reply at this point of the session.
_PHASES = ("the name server", "connect", "GREETING", "EHLO", "HANDSHAKE", "MAIL", "RCPT", "DATA", "DOT", "QUIT")
_MOST, _SOON = 1.2, 2.0
_TIMEOUT = 120.0


class _Nine:
    """The servers that answer, each reply to MAIL and to the final dot after 20 ms; how many messages they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def on(self, point: str, argument: bytes, session: Session) -> Answer | None:
        if point in ("MAIL", "DOT"):
            time.sleep(_LATENCY)
        if point == "DOT":
            with self._lock:
                self.taken += 1
        return None

    def wait(self, count: int, flush: "subprocess.Popen[bytes]") -> float:
        """Seconds until they have taken so many in all."""
        begin = time.perf_counter()
        while self.taken < count:
            took = time.perf_counter() - begin
            # without a domain that hangs, the pass ends as soon as its last reply was read
            if took > _TIMEOUT or (flush.poll() is not None and self.taken < count):
                raise RuntimeError(f"{self.taken} of {count} were taken in {took:.0f} s")
            time.sleep(0.002)
        return time.perf_counter() - begin


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    certificates = make_certificates(folder)
    phases = ("", *_PHASES)
    timings = {phase: Timing() for phase in phases}
    later = {phase: Timing() for phase in phases}
    for _ in range(QUICK if quick else ROUNDS):
        for phase in random.sample(phases, len(phases)):
            _run(folder, phase, certificates, timings[phase], later[phase])
    base, count = timings[""], f"{_OTHERS * _EACH} messages to nine domains"
    found = [Figure(f"{count} (20 ms to MAIL and to the dot)", base)]
    for phase in _PHASES:
        timing, share = timings[phase], timings[phase].median / base.median
        what = f"the same, while a tenth hangs: {phase}"
        found.append(Figure(what, timing, f"{share:.2f} x", f"≤ {_MOST:g} x", share <= _MOST))
        met = later[phase].median <= _SOON
        what = f"{_OTHERS * _MEANWHILE} more that come in meanwhile: {phase}"
        found.append(Figure(what, later[phase], "", f"≤ {_SOON:g} s", met))
    return found


def _run(folder: str, phase: str, certificates: Certificates, timing: Timing, later: Timing) -> None:
    """One pass, ended as soon as all has come that can. phase: where the tenth domain hangs; without one there is none."""
    spool = f"{folder}/spool"
    with _servers(phase, certificates) as (exchangers, nine):
        domains = _DOMAINS if phase else _OTHERS
        _fill(spool, domains, domains * _EACH)
        exchange = (exchangers.dns.where, exchangers.port)
        command = installed.command(installed.configuration(f"{folder}/smartrelay.toml", spool, exchangers=exchange), "flush")
        with open(f"{folder}/output", "wb") as output:
            begin = time.perf_counter()
            flush = subprocess.Popen(command.arguments, env=command.environment, stdout=output, stderr=output)
            try:
                nine.wait(_OTHERS * _EACH, flush)
                timing.seconds.append(time.perf_counter() - begin)
                if phase:
                    _fill(f"{folder}/aside", _OTHERS, _OTHERS * _MEANWHILE)
                    for name in os.listdir(f"{folder}/aside/new"):
                        os.rename(f"{folder}/aside/new/{name}", f"{spool}/new/{name}")
                    later.seconds.append(nine.wait(_OTHERS * (_EACH + _MEANWHILE), flush))
            finally:
                _end(flush)


def _fill(spool: str, domains: int, count: int) -> None:
    spools.make(spool)
    spools.fill(spool, count, 4096, waiting=False, recipient=lambda number: f"user@d{number % domains}.test")


def _end(flush: "subprocess.Popen[bytes]") -> None:
    """The second signal gives the transactions that hang no time."""
    for _ in range(2):
        flush.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    flush.wait(20)


@contextmanager
def _servers(phase: str, certificates: Certificates) -> Iterator[tuple[Exchangers, _Nine]]:
    nine = _Nine()
    with Exchangers() as exchangers, ExitStack() as stack:
        for number in range(_OTHERS):
            exchangers.start(f"mx.d{number}.test", 2 + number, on=nine.on)
            exchangers.mx(f"d{number}.test", f"mx.d{number}.test")
        if phase:
            exchangers.mx(_HANGING, f"mx.{_HANGING}")
        if phase == _PHASES[0]:
            exchangers.dns.on[f"{_HANGING} MX"] = SILENT
        elif phase == _PHASES[1]:
            exchangers.zone[f"mx.{_HANGING}"] = ["A 127.0.0.11"]
            stack.enter_context(_deaf("127.0.0.11", exchangers.port))
        elif phase:
            certificate = certificates.server if phase == "HANDSHAKE" else None
            exchangers.start(f"mx.{_HANGING}", 11, replies={phase: Action.SILENCE}, certificate=certificate)
        yield exchangers, nine


@contextmanager
def _deaf(address: str, port: int) -> Iterator[None]:
    """A port whose queue of connections is full: nobody who tries to connect hears anything."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, port), backlog=0))
        for _ in range(4):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield
