"""The server on real sockets: side by side, within limits, to the end."""

import _socket
import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from smartrelay.errors import CannotCreate, NoSpace
from smartrelay.settings import Settings
from smartrelay.spool.queue import Queue
from smartrelay.submit import listening, peer
from smartrelay.submit.fairness import USUAL_RATE, Fairness, TooFast, parse_rate, taken
from smartrelay.submit.server import Server
from tests.support.clock import FakeClock
from tests.support.process import NOBODY, free_port
from tests.support.queues import files, new_spool, put
from tests.support.smtp_talk import Talk, until

BEGIN = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
MESSAGE = BEGIN + b"DATA\r\n"


def settings(spool: str, **more: object) -> Settings:
    found = Settings()
    found.hostname, found.domain, found.spool, found.min_free_space = "host.example.org", "example.org", spool, 0
    for name, value in more.items():
        setattr(found, name, value)
    return found


class Place:
    """A server on a UNIX socket and a port, and ways to speak to it."""

    def __init__(self, folder: str, **more: object) -> None:
        self.spool = new_spool(folder)
        self.path = f"{folder}/run/submit.sock"
        self.port = free_port()
        self.bugs: list[Exception] = []
        listeners = listening.open_all(self.path, (("127.0.0.1", self.port),))
        idle = more.pop("idle", None)
        most = more.pop("most", 200)
        self.server = Server(listeners, settings(self.spool, **more), os.getuid(), self.bugs.append, idle=idle, most=most)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def unix(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(self.path)
        return connection

    def tcp(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.bugs == []


@pytest.fixture
def serving(tmp_path: os.PathLike[str]) -> Iterator[Callable[..., Place]]:
    places: list[Place] = []

    def serve(**more: object) -> Place:
        places.append(Place(os.fspath(tmp_path), **more))
        return places[-1]

    yield serve
    for place in places:
        place.end()


@contextmanager
def talking(connection: socket.socket) -> Iterator[Talk]:
    with connection:
        talk = Talk(connection.fileno(), connection.fileno())
        yield talk


@pytest.mark.parametrize("way", [Place.unix, Place.tcp])
def test_mail_comes_in_with_the_trace_of_who_sent_it(
    serving: Callable[..., Place], way: Callable[[Place], socket.socket]
) -> None:  # E-020 F-049
    place = serving()
    with talking(way(place)) as talk:
        assert talk.hear() == "220 host.example.org ESMTP smartrelay"
        talk.say(b"EHLO c.example\r\n")
        assert talk.message(b"Subject: x\r\n\r\nhello").startswith("250 2.0.0 Ok: queued as ")
        assert talk.say(b"QUIT\r\n").startswith("221 ")
        assert talk.hear() == ""
    (one,) = files(place.spool)["new"]
    with open(f"{place.spool}/new/{one}", "rb") as file:
        text = file.read()
    address = "" if way is Place.unix else "([127.0.0.1]) "
    assert f"\nReceived: from c.example {address}(userid {os.getuid()})\n\tby host.example.org".encode() in text
    assert re.search(rb"\nDate: .*\nFrom: .*\nMessage-ID: <.*@host\.example\.org>\n\nhello\n", text)  # F-060
    assert Queue(place.spool).get_envelope(one).uid == os.getuid()


def test_the_socket_is_for_all_users(serving: Callable[..., Place]) -> None:
    place = serving()
    assert os.stat(place.path).st_mode & 0o777 == 0o666
    assert os.stat(os.path.dirname(place.path)).st_mode & 0o777 == 0o755


def test_a_caller_who_says_nothing_holds_nobody_up(serving: Callable[..., Place]) -> None:
    place = serving()
    with talking(place.unix()) as slow, talking(place.unix()) as quick:
        slow.hear()
        slow.write(MESSAGE + b"half")
        quick.hear()
        quick.say(b"EHLO c\r\n")
        assert quick.message(b"x").startswith("250 ")
    until(lambda: not os.listdir(f"{place.spool}/tmp"))
    assert len(files(place.spool)["new"]) == 1


def test_a_hundred_at_once_are_all_served(serving: Callable[..., Place]) -> None:
    place = serving()
    replies: list[str] = []

    def send() -> None:
        with talking(place.unix()) as talk:
            talk.hear()
            talk.say(b"EHLO c\r\n")
            replies.append(talk.message(b"x" * 10_000))

    threads = [threading.Thread(target=send) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({reply.rpartition(" ")[2] for reply in replies if reply.startswith("250 ")}) == 100
    assert len(files(place.spool)["new"]) == 100


def test_more_than_may_be_at_once_wait_for_their_turn(serving: Callable[..., Place]) -> None:
    place = serving(most=2)
    with talking(place.unix()) as first, talking(place.unix()) as second, talking(place.unix()) as third:
        first.hear()
        second.hear()
        assert select.select([third._source], [], [], 0.05)[0] == []
        first.say(b"QUIT\r\n")
        assert third.hear().startswith("220 ")


def test_the_end_is_told_to_all_and_takes_no_half_message(serving: Callable[..., Place]) -> None:  # F-052
    place = serving()
    with talking(place.unix()) as idle, talking(place.tcp()) as busy:
        idle.hear()
        busy.hear()
        busy.say(b"EHLO c\r\n")
        busy.say(MESSAGE.removeprefix(b"EHLO c\r\n"), 3)
        busy.write(b"half")
        place.server.stop()
        assert idle.hear().startswith("421 4.3.2 ")
        assert busy.hear().startswith("421 4.3.2 ")
        assert (idle.hear(), busy.hear()) == ("", "")
    place.thread.join(20)
    assert files(place.spool) == {}


def test_a_server_that_nobody_needs_ends(tmp_path: os.PathLike[str]) -> None:
    place = Place(os.fspath(tmp_path), idle=0.01)
    place.thread.join(20)
    assert not place.thread.is_alive()


def test_replies_to_who_errs_and_errs_are_held_back(serving: Callable[..., Place]) -> None:  # F-051
    """Only theirs; and the end does not wait for it."""
    place = serving()
    with talking(place.unix()) as erring, talking(place.unix()) as other:
        erring.hear()
        erring.write(b"FOO\r\n" * 11)
        assert select.select([erring._source], [], [], 0.05)[0] == []
        other.hear()
        assert other.say(b"NOOP\r\n").startswith("250 ")
        place.server.stop()
        assert [erring.hear()[:3] for _ in range(13)] == [*["500"] * 11, "421", ""]


def test_who_speaks_before_the_greeting_does_not_speak_smtp(serving: Callable[..., Place]) -> None:  # F-041
    """On a port; the sendmail command may, on its own socket."""
    place = serving(most=1)
    with talking(place.unix()) as first:
        first.hear()
        with talking(place.tcp()) as early:
            early.write(BEGIN)
            first.say(b"QUIT\r\n")
            assert early.hear().startswith("554 5.5.0 ")
        with talking(place.unix()) as ours:
            ours.write(BEGIN + b"BDAT 3 LAST\r\nx\r\nQUIT\r\n")
            assert [ours.hear()[:3] for _ in range(7)] == ["220", "250", "250", "250", "250", "221", ""]


# Who is at the other end.


def test_the_kernel_says_who_the_caller_is() -> None:
    here, there = socket.socketpair()
    with here, there:
        found = peer.caller(_socket.socket(fileno=os.dup(here.fileno())))
        assert found is not None
        assert (found.uid, found.literal) == (os.getuid(), "")


@pytest.mark.parametrize(
    ("family", "listen", "connect", "literal"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1", "[127.0.0.1]"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1", "[127.0.0.1]"),
        (socket.AF_INET6, "::1", "::1", "[IPv6:::1]"),
        (socket.AF_INET6, "::", "127.0.0.1", "[127.0.0.1]"),  # F-024: IPv4-mapped
    ],
)
def test_a_caller_on_this_host_is_known_by_address_and_uid(
    family: socket.AddressFamily, listen: str, connect: str, literal: str
) -> None:  # F-024
    with socket.socket(family) as listener:
        listener.bind((listen, 0))
        listener.listen()
        with socket.create_connection((connect, listener.getsockname()[1])) as client:
            accepted, _ = listener.accept()
            with accepted:
                connection = _socket.socket(fileno=os.dup(accepted.fileno()))
                found = peer.caller(connection)
                assert found is not None
                assert (found.uid, found.literal) == (os.getuid(), literal)
                client.close()
                gone = peer.caller(connection)
                assert gone is not None
                assert gone.uid == NOBODY, "of a socket that is closed the kernel says nothing that could be relied on"


@pytest.mark.as_another_user
def test_a_port_of_another_user_is_theirs() -> None:
    script = "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
    become = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subprocess.Popen([*become, sys.executable, "-c", script, str(port)], stdin=subprocess.PIPE) as process:
            accepted, (address, their_port) = listener.accept()
            with accepted:
                there, here = (address, their_port), ("127.0.0.1", port)
                assert peer.owner(there, here) == peer.by_question(there, here) == peer.by_table(there, here) == 4711
            process.communicate()


class Elsewhere:
    """A connection from another host."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.9", 4711

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.1", 25


def test_who_is_on_another_host_is_nobody_that_we_answer_for() -> None:  # F-024
    assert peer.caller(Elsewhere()) is None  # type: ignore[arg-type]


def test_who_is_on_another_host_is_told_so_instead_of_a_greeting(serving: Callable[..., Place]) -> None:  # F-024
    found, refusal = serving().server._judged(Elsewhere())  # type: ignore[arg-type]
    assert found is None
    assert refusal.startswith("554 5.7.1 host.example.org ")


# Fair shares.

USER, OTHER, OWNER = 1001, 1002, 997


def fairness(spool: str, clock: FakeClock, **more: object) -> Fairness:
    return Fairness(settings(spool, **more), frozenset({0, OWNER}), clock)


def test_one_user_has_so_many_connections_and_the_others_theirs(tmp_path: os.PathLike[str], clock: FakeClock) -> None:
    found = fairness(new_spool(os.fspath(tmp_path)), clock)
    assert all(found.arrive(USER) for _ in range(Fairness.MOST_CONNECTIONS))
    assert not found.arrive(USER)
    assert found.arrive(OTHER)
    assert all(found.arrive(OWNER) for _ in range(200))
    found.leave(USER)
    assert found.arrive(USER)


def test_one_user_sends_so_many_messages_in_a_time_and_the_others_theirs(tmp_path: os.PathLike[str], clock: FakeClock) -> None:
    found = fairness(new_spool(os.fspath(tmp_path)), clock, submit_rate="10/m")
    for _ in range(10):
        found.message(USER, 0)
    with pytest.raises(TooFast, match="uid 1001 has sent 10 messages"):
        found.message(USER, 0)
    assert found.strained
    found.message(OTHER, 0)
    for _ in range(50):
        found.message(0, 0)
    clock.advance(6)
    found.message(USER, 0)
    with pytest.raises(TooFast):
        found.message(USER, 0)
    clock.advance(31)
    assert not found.strained


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500/h", (500, 3600.0)),
        ("20/30s", (20, 30.0)),
        ("none", None),
        ("", USUAL_RATE),
        ("x", USUAL_RATE),
        ("0/m", USUAL_RATE),
    ],
)
def test_a_rate_is_read_as_the_strict_reader_reads_it(text: str, expected: object) -> None:
    assert parse_rate(text) == expected


def test_where_there_is_not_plenty_a_user_has_as_much_as_is_left_for_all(tmp_path: os.PathLike[str], clock: FakeClock) -> None:
    spool = new_spool(os.fspath(tmp_path))
    one = put(Queue(spool), text=b"x" * 3_000_000)
    size = os.stat(f"{spool}/new/{one}").st_blocks * 512
    assert {uid: (share.octets, share.files) for uid, share in taken(spool).items()} == {os.getuid(): (size, 1)}
    space = os.statvfs(spool)
    free = space.f_bavail * space.f_frsize
    # what other programs write meanwhile must not matter: half of all that is free is a long way from both bounds
    found = Fairness(settings(spool, min_free_space=free - (40 << 20), max_message_size=50 << 20), frozenset(), clock)
    found.message(USER, 1 << 20)
    with pytest.raises(NoSpace, match="no room for it above min_free_space"):
        found.message(USER, 200 << 20)
    found.room(USER, 15 << 20)
    with pytest.raises(NoSpace, match="uid 1001 has its share"):
        found.room(USER, 30 << 20)
    found.room(OTHER, 15 << 20)


def test_where_there_is_plenty_nobody_looks(tmp_path: os.PathLike[str], clock: FakeClock) -> None:
    found = fairness(f"{tmp_path}", clock, max_message_size=1)
    found.room(USER, 1 << 20)


@pytest.mark.as_another_user
def test_a_connection_of_another_user_from_the_same_port_lends_nobody_its_name() -> None:
    """It goes to the same port of another address; both begin where the two users agree, or where one of them sees it."""
    script = (
        "import socket, sys\nheld = []\n"
        "for line in sys.stdin:\n"
        " c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); held.append(c)\n"
        " c.bind(('127.0.0.1', int(line))); c.connect(('127.0.0.1', int(sys.argv[1]))); print(flush=True)\n"
    )
    become = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"]
    with socket.create_server(("127.0.0.1", 0)) as ours, ExitStack() as held:
        port = ours.getsockname()[1]
        elsewhere = held.enter_context(socket.create_server(("127.0.0.2", port)))
        command = [*become, sys.executable, "-c", script, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hostile:
            assert hostile.stdin is not None and hostile.stdout is not None
            for _ in range(20):
                victim = held.enter_context(socket.socket())
                victim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                victim.bind(("127.0.0.1", 0))
                victim.connect(("127.0.0.2", port))
                held.enter_context(elsewhere.accept()[0])
                print(victim.getsockname()[1], file=hostile.stdin, flush=True)
                hostile.stdout.readline()
                caller = peer.caller(held.enter_context(ours.accept()[0]))
                assert caller is not None and caller.uid == 4711
            hostile.communicate()


@pytest.mark.as_another_user
@pytest.mark.parametrize(("family", "to"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_a_port_for_both_families_tells_users_apart(family: int, to: str) -> None:  # F-024
    script = (
        "import socket, sys; c = socket.socket(int(sys.argv[1])); c.connect((sys.argv[2], int(sys.argv[3]))); sys.stdin.read()"
    )
    become = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"]
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        command = [*become, sys.executable, "-c", script, str(int(family)), to, str(listener.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            accepted, (_, their_port, *_) = listener.accept()
            with accepted:
                caller = peer.caller(accepted)
                there, here = ("127.0.0.1", their_port), ("127.0.0.1", listener.getsockname()[1])
                assert peer.by_question(there, here) == peer.by_table(there, here) == 4711
            assert caller is not None
            assert (caller.uid, caller.literal) == (4711, "[127.0.0.1]")
            process.communicate()


# The way to the socket.


@pytest.mark.parametrize("kind", ["file", "link to a file", "directory"])
def test_what_is_no_socket_is_left_where_it_is(tmp_path: os.PathLike[str], kind: str) -> None:
    path, other = f"{os.fspath(tmp_path)}/submit.sock", f"{os.fspath(tmp_path)}/other"
    if kind == "directory":
        os.mkdir(path)
    for name in (path, other) if kind == "file" else (other,):
        with open(name, "w", encoding="ascii") as file:
            file.write("precious")
    if kind == "link to a file":
        os.symlink(other, path)
    with pytest.raises(CannotCreate, match=r"cannot listen at .*submit\.sock: Address already in use"):
        listening.open_all(path, ())
    assert os.path.lexists(path)
    assert os.path.islink(path) == (kind == "link to a file")


def test_a_link_in_the_sockets_place_is_not_followed(tmp_path: os.PathLike[str]) -> None:
    """Whoever may write to its directory could have the mode of any file changed."""
    path, secret = f"{os.fspath(tmp_path)}/submit.sock", f"{os.fspath(tmp_path)}/secret"
    os.symlink(secret, path)
    with pytest.raises(CannotCreate):
        listening.open_all(path, ())
    assert not os.path.exists(secret)


def test_the_mode_of_the_socket_is_there_from_the_beginning(tmp_path: os.PathLike[str]) -> None:
    path, before = f"{os.fspath(tmp_path)}/submit.sock", os.umask(0o027)
    try:
        (listener,) = listening.open_all(path, ())
        listener.close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o7777 == 0o666


def test_a_socket_that_nobody_listens_at_any_more_makes_way(tmp_path: os.PathLike[str]) -> None:
    path = f"{os.fspath(tmp_path)}/submit.sock"
    for _ in range(2):
        (listener,) = listening.open_all(path, ())
        listener.close()
    (listener,) = listening.open_all(path, ())
    with pytest.raises(CannotCreate, match="Address already in use"):
        listening.open_all(path, ())
    listener.close()


def test_who_comes_as_a_server_ends_is_served_by_the_next(tmp_path: os.PathLike[str], clock: FakeClock) -> None:
    """What a socket unit does: the sockets stay, and one process follows the other."""
    spool, path = new_spool(os.fspath(tmp_path)), f"{os.fspath(tmp_path)}/submit.sock"
    listeners = listening.open_all(path, ())
    bugs: list[Exception] = []
    first = Server(listeners, settings(spool), os.getuid(), bugs.append, idle=30, clock=clock)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(MESSAGE + b"x\r\n.\r\n")
        clock.advance(31)
        first.run()
        last = Server(listeners, settings(spool), os.getuid(), bugs.append)
        thread = threading.Thread(target=last.run)
        thread.start()
        talk = Talk(connection.fileno(), connection.fileno())
        assert [talk.hear()[:3] for _ in range(6)] == ["220", "250", "250", "250", "354", "250"]
        last.stop()
        thread.join(20)
    listeners[0].close()
    assert len(files(spool)["new"]) == 1
    assert bugs == []
