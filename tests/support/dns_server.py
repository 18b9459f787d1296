"""A DNS server on loopback that does what a test tells it: over UDP and TCP, late, lying or silent, and with a log.

    with DnsServer({"example.org": ["MX 10 mx.example.org"], "mx.example.org": ["A 127.0.0.2"]}) as server:
        resolver = DNSResolver([server.where])

Its octets are made here, not by the library that the program reads them with. One thread serves all. For benchmarks it can be
a process of its own, which takes no time from who asks it: `dns_process(zone, delay=0.02)`.
"""

import heapq
import itertools
import json
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "OPT": 41}
NAMES = {number: kind for kind, number in KINDS.items()}
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
SILENT, TRUNCATED = "silent", "truncated"
LONGEST_BY_UDP = 512

Zone = Mapping[str, Sequence[str]]
"""Name to records: `MX 10 mx.example.org`, `A 192.0.2.1`, `CNAME other.example`."""


class Query(NamedTuple):
    """One question as it came. payload: octets that a UDP answer may have, 0 without EDNS. number: the message's id."""

    name: str
    kind: str
    tcp: bool
    payload: int
    number: int

    def __str__(self) -> str:
        return f"{self.name} {self.kind}"


@dataclass
class Answer:
    """What is sent back. Sections hold (name, record). question: what it says it answers, None for nothing."""

    query: Query
    question: tuple[str, str] | None
    code: int = 0
    answers: list[tuple[str, str]] = field(default_factory=list)
    authorities: list[tuple[str, str]] = field(default_factory=list)
    additional: list[tuple[str, str]] = field(default_factory=list)
    flags: int = 0x8180  # an answer, from one that recurses
    extended: int = 0  # upper bits of the response code, in an OPT record
    truncated: bool = False

    def octets(self, number: int | None = None) -> bytes:
        """The message, with the id of the question unless there is another."""
        sections = (self.answers, self.authorities, self.additional)
        counts = [1 if self.question else 0, *(len(section) for section in sections)]
        counts[3] += 1 if self.query.payload else 0
        flags = self.flags | self.code | (0x0200 if self.truncated else 0)
        wire = struct.pack("!HHHHHH", self.query.number if number is None else number, flags, *counts)
        if self.question:
            name, kind = self.question
            wire += name_octets(name) + struct.pack("!HH", KINDS[kind], 1)
        wire += b"".join(record_octets(name, record) for section in sections for name, record in section)
        if self.query.payload:
            wire += b"\0" + struct.pack("!HHIH", KINDS["OPT"], 1232, self.extended << 24, 0)
        if not self.query.tcp and len(wire) > (self.query.payload or LONGEST_BY_UDP):
            return Answer(self.query, self.question, self.code, truncated=True).octets(number)
        return wire


Action = int | str | Callable[[Answer], Sequence[bytes] | None]
"""A response code; SILENT; TRUNCATED over UDP (and whole over TCP); or a function that changes the answer as it likes, or gives
the messages to send instead."""


def name_octets(name: str) -> bytes:
    """A name on the wire; `\\x2e` in a label is a dot that ends none."""
    labels = [label.replace("\\x2e", ".").encode("latin-1") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record_octets(name: str, record: str) -> bytes:
    """A record on the wire, with a lifetime of five minutes."""
    kind, _, value = record.partition(" ")
    if kind in ("A", "AAAA"):
        data = socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
    elif kind == "MX":
        preference, _, host = value.partition(" ")
        data = struct.pack("!H", int(preference)) + name_octets(host)
    elif kind == "TXT":
        data = bytes([len(value)]) + value.encode()
    elif kind == "SOA":
        data = name_octets(value) * 2 + struct.pack("!IIIII", 1, 3600, 600, 86400, 60)
    else:
        data = name_octets(value)
    return name_octets(name) + struct.pack("!HHIH", KINDS[kind], 1, 300, len(data)) + data


def read_query(wire: bytes, *, tcp: bool) -> Query:
    """The question in a message."""
    position, labels = 12, []
    while wire[position]:
        labels.append(wire[position + 1 : position + 1 + wire[position]].decode("latin-1"))
        position += 1 + wire[position]
    (kind,) = struct.unpack_from("!H", wire, position + 1)
    payload = struct.unpack_from("!H", wire, position + 8)[0] if wire[11] else 0
    return Query(".".join(labels).lower(), NAMES.get(kind, str(kind)), tcp, payload, int.from_bytes(wire[:2]))


def question_octets(name: str, kind: str) -> bytes:
    """A question as a message."""
    return struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + name_octets(name) + struct.pack("!HH", KINDS[kind], 1)


def is_there(wire: bytes) -> bool:
    """Whether a message has an answer, and no error."""
    return wire[3] & 15 == 0 and wire[6:8] != b"\0\0"


class DnsServer:
    """The server. zone: may be changed while it runs. on: what to do with a question, by "NAME KIND", by name, by kind, or "*"
    for all others. delay: seconds before each answer. steps: an answer holds one step of an alias, not the whole chain.
    edns: without it, EDNS is a format error. tcp: without it, nobody listens there."""

    def __init__(
        self,
        zone: Zone | None = None,
        *,
        on: Mapping[str, Action] | None = None,
        delay: float = 0.0,
        steps: bool = False,
        edns: bool = True,
        tcp: bool = True,
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.zone: dict[str, Sequence[str]] = dict(zone or {})
        self.on = dict(on or {})
        self.delay, self.steps, self.edns = delay, steps, edns
        self.queries: list[Query] = []
        self._parents: set[str] = {parent for name in self.zone for parent in _parents(name)}
        self._udp, self._listener = _sockets(address, port, tcp=tcp)
        self.address, self.port = self._udp.getsockname()[:2]
        self._wake, self._waker = socket.socketpair()
        self._late: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def where(self) -> str:
        """The server as a configuration names it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def log(self) -> list[str]:
        """What was asked, in order: "example.org MX"."""
        return [str(query) for query in self.queries]

    def close(self) -> None:
        """End the thread; nobody listens any more."""
        if not self._thread.is_alive():
            return
        self._waker.send(b"x")
        self._thread.join()
        for each in (self._udp, self._listener, self._wake, self._waker):
            if each is not None:
                each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The thread.

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            streams: dict[socket.socket, bytes] = {}
            for each in (self._udp, self._listener, self._wake):
                if each is not None:
                    each.setblocking(False)
                    selector.register(each, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                while self._late and self._late[0][0] <= now:
                    heapq.heappop(self._late)[2]()
                for key, _ in selector.select(self._late[0][0] - now if self._late else None):
                    channel = key.fileobj
                    assert isinstance(channel, socket.socket)
                    if channel is self._wake:
                        for stream in streams:
                            stream.close()
                        return
                    if channel is self._udp:
                        self._receive()
                    elif channel is self._listener:
                        stream, _ = channel.accept()
                        streams[stream] = b""
                        selector.register(stream, selectors.EVENT_READ)
                    elif not self._read(channel, streams):
                        selector.unregister(channel)
                        del streams[channel]
                        channel.close()

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            while True:
                wire, sender = self._udp.recvfrom(65535)

                def send(messages: Sequence[bytes], sender: Any = sender) -> None:
                    for message in messages:
                        with suppress(OSError):  # who asked is gone
                            self._udp.sendto(message, sender)

                self._answer(read_query(wire, tcp=False), send)

    def _read(self, stream: socket.socket, streams: dict[socket.socket, bytes]) -> bool:
        """Whether the connection still stands; `streams` has what came of its next question."""
        try:
            piece = stream.recv(65535)
        except OSError:
            return False
        data = streams[stream] + piece
        while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2]):
            end = 2 + int.from_bytes(data[:2])

            def send(messages: Sequence[bytes]) -> None:
                for message in messages:
                    with suppress(OSError):
                        stream.sendall(len(message).to_bytes(2) + message)

            self._answer(read_query(data[2:end], tcp=True), send)
            data = data[end:]
        streams[stream] = data
        return bool(piece)

    def _answer(self, query: Query, send: Callable[[Sequence[bytes]], None]) -> None:
        self.queries.append(query)
        messages = self._messages(query)
        if self.delay:
            heapq.heappush(self._late, (time.monotonic() + self.delay, next(self._order), lambda: send(messages)))
        else:
            send(messages)

    # What it says.

    def _messages(self, query: Query) -> Sequence[bytes]:
        keys = (str(query), query.name, query.kind, "*")
        action = next((self.on[key] for key in keys if key in self.on), None)
        answer = Answer(query, (query.name, query.kind))
        if query.payload and not self.edns:
            answer.code = FORMERR
        elif action == SILENT:
            return []
        elif isinstance(action, int):
            answer.code = action
        else:
            self._look_up(answer)
            answer.truncated = action == TRUNCATED and not query.tcp
            if callable(action):
                messages = action(answer)
                if messages is not None:
                    return messages
        return [answer.octets()]

    def _look_up(self, answer: Answer) -> None:
        name, kind = answer.query.name, answer.query.kind
        for _ in range(20):  # a loop of aliases is answered as far as it goes
            records = self.zone.get(name, ())
            found = [record for record in records if record.split()[0] in (kind, "CNAME")]
            answer.answers += [(name, record) for record in found]
            target = next((record.split()[1] for record in found if record.split()[0] == "CNAME"), None)
            if target is None or self.steps or any(owner == target for owner, _ in answer.answers):
                break
            name = target
        if name not in self.zone and name not in self._parents:
            answer.code = NXDOMAIN
        if not answer.answers:
            answer.authorities.append((name, f"SOA ns.{name}"))


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _sockets(address: str, port: int, *, tcp: bool) -> tuple[socket.socket, socket.socket | None]:
    """This port, or a free one if it is 0; the same for both ways."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(20):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.bind((address, port))
        if not tcp:
            return udp, None
        try:
            return udp, socket.create_server((address, udp.getsockname()[1]), family=family)
        except OSError:
            udp.close()
    raise RuntimeError("no port is free for UDP and TCP at once")


@contextmanager
def dns_process(zone: Zone, delay: float = 0.0) -> Iterator[str]:
    """The server as a process; gives where it is."""
    command = [sys.executable, "-m", "tests.support.dns_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"zone": zone, "delay": delay}) + "\n")
        process.stdin.flush()
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def main() -> None:
    """Serves what one line on standard input says, until that is closed."""
    with DnsServer(**json.loads(sys.stdin.readline())) as server:
        print(server.where, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
