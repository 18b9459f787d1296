"""How any user's mail comes in: one message through the socket, many in one SMTP session, a hundred users at once.

Beside Postfix's smtpd and `sendmail -bs`, with the same client, and with HOLD, so that its queue manager takes no time away.
Ours syncs the file of each message, renames it and syncs the directory before it says 250; Postfix renames the file and syncs
it: one wait for the disk instead of two.
"""

import os
import pwd
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import figures, installed, spools
from benchmarks.door import Door
from benchmarks.enqueue import PASS, bare, give_away
from benchmarks.figures import Figure
from benchmarks.postfix import Postfix, usable
from benchmarks.process import Command, Timing, compare
from benchmarks.users import become
from smartrelay.spool.queue import Queue
from tests.support.process import NOBODY, free_port
from tests.support.smtp_talk import Talk

_ROUNDS, _QUICK = 200, 20
_SESSIONS, _FEW = 5, 2
_MESSAGES, _SOME = 500, 100
_USER = "games"
_USERS, _FIRST_USER = 100, 50_000
_WARM, _COLD = "warm", "cold"
_NO_MAPS = "local_recipient_maps =\n"
"""Which a daemon of its own would read; nothing is local to this instance."""

_HOLD = f"""\
{_NO_MAPS}mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks, reject
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
"""
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
"""


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    if not usable():
        return [Figure("submission", None, "not run: it wants root, to be several users")]
    host = _Host(folder)
    with ExitStack() as running:
        running.callback(host.close)
        lines = _one(host, _QUICK if quick else _ROUNDS)
        lines += _sessions(host, folder, _FEW if quick else _SESSIONS, _SOME if quick else _MESSAGES)
        lines.append(_crowd(host, _FEW if quick else _SESSIONS))
    return lines


class _Host:
    """An installed smartrelay whose spool belongs to another user, with its doors."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.spool, self.message = f"{folder}/spool", f"{folder}/message"
        spools.make(self.spool)
        give_away(self.spool)
        self.door = f"{folder}/submit.sock"
        config = installed.configuration(f"{folder}/smartrelay.toml", self.spool, top=f'submit_socket = "{self.door}"')
        with open(self.message, "wb") as file:
            file.write(spools.text(1024))
        self.sendmail = installed.sendmail(f"{folder}/home", config)
        for path, _, _ in os.walk(f"{folder}/home"):
            os.chmod(path, 0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.door)
        os.chmod(self.door, 0o666)
        listener.listen(4096)
        self._listeners = [listener, socket.create_server(("127.0.0.1", 0), backlog=4096)]
        self.port: int = self._listeners[1].getsockname()[1]
        self.handler = Door(self._listeners, [self.sendmail, "-bs"], become(NOBODY))

    def queued(self) -> int:
        return len(os.listdir(f"{self.spool}/new"))

    def close(self) -> None:
        self.handler.stop()
        for listener in self._listeners:
            listener.close()


def _one(host: _Host, rounds: int) -> list[Figure]:
    """One message by a user who may not write to the spool."""
    call = Command([host.sendmail, "-t", "-i"], host.message, enter=become(pwd.getpwnam(_USER).pw_uid))
    before = host.queued()

    def start(name: str) -> None:
        if name == _COLD:
            host.handler.restart()

    host.handler.restart()
    timings = compare({PASS: bare(), _WARM: call, _COLD: call}, rounds, host.folder, before=start)
    _must_be(host.queued() - before, 2 * (rounds + 1))
    base = timings[PASS]
    what = "enqueue 1 KB by any user through the socket, handler"
    return [
        Figure(f"bare Python: `{PASS}`", base),
        figures.ratio(f"{what} warm", timings[_WARM], base, "bare Python", 1.6),
        figures.ratio(f"{what} cold", timings[_COLD], base, "bare Python", 3.2),
    ]


def _sessions(host: _Host, folder: str, rounds: int, count: int) -> list[Figure]:
    """Many messages in one session, by a client that pipelines the envelope, and by one that waits for each reply."""
    port = free_port()
    postfix = Postfix(f"{folder}/postfix", _HOLD, _SERVICES.format(port=port))
    drop = Postfix(f"{folder}/drop", _NO_MAPS)
    try:
        postfix.start()
        drop.hear_submissions()
        ours = Command([host.sendmail, "-bs"])
        ways = {
            "on the socket": lambda: _dialled(host.door),
            "on the port": lambda: _dialled(("127.0.0.1", host.port)),
            "in one `-bs`": lambda: _piped(ours),
            "by Postfix's smtpd": lambda: _dialled(("127.0.0.1", port)),
            "by Postfix's `sendmail -bs`": lambda: _piped(drop.command("sendmail", "-bs")),
        }
        timings = {(way, pipelined): Timing() for way in ways for pipelined in (True, False)}
        before = host.queued()
        for number in range(-1, rounds):
            for way, pipelined in random.sample(list(timings), len(timings)):
                with ways[way]() as talk:
                    took = _session(talk, count if number >= 0 else 1, pipelined=pipelined)
                if number >= 0:
                    timings[way, pipelined].seconds.append(took)
        expected = 2 * (rounds * count + 1)
        found = (host.queued() - before, postfix.held(), drop.left())
        _must_be(found, (3 * expected, expected, expected))
    finally:
        postfix.stop()
        drop.stop()
    lines = []
    for pipelined in (True, False):
        client = "a client that pipelines" if pipelined else "one that does not"
        for way in ways:
            timing = timings[way, pipelined]
            what = f"{count} messages of 1 KB in one session {way}, {client}"
            rival = "`sendmail -bs`" if "-bs" in way else "smtpd"
            if "Postfix" in way:
                lines.append(Figure(what, timing, f"{count / timing.median:.0f}/s"))
            else:
                base = timings[f"by Postfix's {rival}", pipelined]
                lines.append(figures.speed(what, timing, base, f"Postfix's {rival}", 1))
    return lines


@contextmanager
def _dialled(address: str | tuple[str, int]) -> Iterator[Talk]:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
        connection.connect(address)
        if not isinstance(address, str):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Talk(connection.fileno(), connection.fileno())


@contextmanager
def _piped(command: Command) -> Iterator[Talk]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command.arguments, env=command.environment, stdin=pipe, stdout=pipe, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        yield Talk(process.stdout.fileno(), process.stdin.fileno())


def _session(talk: Talk, count: int, *, pipelined: bool) -> float:
    """Sends so many messages; the seconds from the greeting to the last reply."""
    envelope = [f"MAIL FROM:<{spools.SENDER}>\r\n", f"RCPT TO:<{spools.RECIPIENT}>\r\n", "DATA\r\n"]
    lines = [line.encode("ascii") for line in envelope]
    text = spools.text(1024).replace(b"\n", b"\r\n") + b".\r\n"
    _must_be(talk.hear()[:3], "220")
    begin = time.perf_counter()
    _must_be(talk.say(b"EHLO bench.example.test\r\n")[:3], "250")
    for _ in range(count):
        if pipelined:
            answer = talk.say(b"".join(lines), 3)
        else:
            for line in lines:
                answer = talk.say(line)
        _must_be(answer[:3], "354")
        _must_be(talk.say(text)[:3], "250")
    took = time.perf_counter() - begin
    talk.say(b"QUIT\r\n")
    return took


def _crowd(host: _Host, rounds: int) -> Figure:
    """Many users at once, and nobody serves them yet."""
    timing, accepted = Timing(), 0
    queue = Queue(host.spool)
    for _ in range(rounds):
        host.handler.restart()
        before = set(os.listdir(f"{host.spool}/new"))
        timing.seconds.append(_all_at_once(host))
        new = set(os.listdir(f"{host.spool}/new")) - before
        accepted += len({queue.get_envelope(one).uid for one in new} & set(range(_FIRST_USER, _FIRST_USER + _USERS)))
    wanted = rounds * _USERS
    what = f"{_USERS} users at once through the socket, handler cold: until the last has returned"
    return Figure(what, timing, f"{accepted} of {wanted} on disk, all told so", "none lost, none refused", accepted == wanted)


def _all_at_once(host: _Host) -> float:
    """Seconds from when they are let go until the last has returned. Raises RuntimeError where one was not told yes."""
    held, gate = os.pipe()
    children = []
    for uid in range(_FIRST_USER, _FIRST_USER + _USERS):
        child = os.fork()
        if child == 0:
            try:
                os.close(gate)
                os.dup2(os.open(host.message, os.O_RDONLY), 0)
                become(uid)()
                os.read(held, 1)
                os.execve(host.sendmail, [host.sendmail, "-f", spools.SENDER, "-t", "-i"], {})
            finally:
                os._exit(1)
        children.append(child)
    begin = time.perf_counter()
    os.close(gate)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    took = time.perf_counter() - begin
    os.close(held)
    _must_be(codes, [0] * _USERS)
    return took


def _must_be(found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f"{found!r} instead of {wanted!r}")
