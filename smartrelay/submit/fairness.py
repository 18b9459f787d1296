"""What one user may do, so that nobody keeps the others from sending: connections, messages in a time, room on the disk.

Root and the spool's owner may do all of it: nothing could stop them from doing it without us. For any number of threads.
"""

import _thread
import posix

from smartrelay.errors import NoSpace, TryAgain
from smartrelay.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

USUAL_RATE = (1000, 60.0)
"""Messages in seconds, where `submit_rate` says nothing."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PLENTY = 20
"""Messages of the largest size for which there must be room; then nobody's share is looked at."""

_PLENTY_OF_FILES = 100_000
"""Files for which there must be room on the file system; some run out of inodes before they run out of blocks."""

_FRESH = 10.0
"""Seconds for which a look at the spool is good."""

_UNSEEN = 2 << 16
"""Octets of each connection that may be on their way to the disk: a block that was read, and one that is gathered."""

_HEAD = 512
_UID = b'"uid":'


class TooFast(TryAgain):
    """A user has sent as many messages as anybody may for now."""


class Fairness:
    """The shares of all users. clock: seconds, monotonic. large_header: held by who completes one; it takes seconds and a
    hundred times its length, so one at a time."""

    MOST_CONNECTIONS = 50
    """Of one user, at once."""

    def __init__(self, settings: Settings, exempt: frozenset[int], clock: "Callable[[], float]") -> None:
        self._exempt = exempt
        self._clock = clock
        self.large_header = _thread.allocate_lock()
        self._lock = _thread.allocate_lock()
        self._connections: dict[int, int] = {}
        self._rate = parse_rate(settings.submit_rate)
        self._used: dict[int, tuple[float, float]] = {}
        self._room = _Room(settings, clock)

    def arrive(self, uid: int) -> bool:
        """A connection; whether it may stay. One that may must `leave`."""
        with self._lock:
            count = self._connections.get(uid, 0)
            if count >= self.MOST_CONNECTIONS and uid not in self._exempt:
                return False
            self._connections[uid] = count + 1
            return True

    def leave(self, uid: int) -> None:
        """The end of a connection."""
        with self._lock:
            self._connections[uid] -= 1
            if not self._connections[uid]:
                del self._connections[uid]

    def message(self, uid: int, octets: int) -> None:
        """One more message, announced to have so many octets. Raises TooFast or NoSpace."""
        if uid in self._exempt:
            return
        self._room.begin(uid, octets, self._unseen())
        if self._rate is None:
            return
        most, seconds = self._rate
        with self._lock:
            used = self._outstanding(uid)
            if used + 1 > most:
                raise TooFast(
                    f"uid {uid} has sent {most} messages in {seconds:.0f} s, as many as one may; nothing was accepted"
                )
            self._used[uid] = (used + 1, self._clock())

    def room(self, uid: int, octets: int) -> None:
        """So many octets are being written. Raises NoSpace where that is more than there is, or than the user's share."""
        if uid not in self._exempt:
            self._room.take(uid, octets, self._unseen())

    def _unseen(self) -> int:
        with self._lock:
            return sum(self._connections.values()) * _UNSEEN

    @property
    def strained(self) -> bool:
        """Whether anybody has used up most of what they may: to forget that would be to give it to them again."""
        with self._lock:
            outstanding = {uid: self._outstanding(uid) for uid in self._used}
            self._used = {uid: each for uid, each in self._used.items() if outstanding[uid]}
            return self._rate is not None and any(used > self._rate[0] / 2 for used in outstanding.values())

    def _outstanding(self, uid: int) -> float:
        """Messages that count against a user now: each is forgotten a little with time."""
        assert self._rate is not None
        most, seconds = self._rate
        used, since = self._used.get(uid, (0.0, 0.0))
        return max(0.0, used - (self._clock() - since) * most / seconds)


def parse_rate(text: str) -> tuple[int, float] | None:
    """ "500/h", "20/30s": messages and seconds; None for "none". What cannot be read counts as if it were not there: whoever
    wrote it is told by every command that reads the configuration strictly."""
    count, slash, span = text.partition("/")
    number = span[:-1] or "1"
    plain = count.isdecimal() and number.isdecimal() and text.isascii() and len(text) < 20
    if slash and plain and span[-1:] in _SECONDS and int(count) and int(number):
        return int(count), float(int(number) * _SECONDS[span[-1:]])
    return None if text == "none" else USUAL_RATE


class _Room:
    """The disk: a user's mail in the queue may take as much as is still free for all above min_free_space. So whoever tries to
    fill it gets half of it, and what is left is the others'. It is looked at only where there is not plenty."""

    def __init__(self, settings: Settings, clock: "Callable[[], float]") -> None:
        self._settings = settings
        self._clock = clock
        self._lock = _thread.allocate_lock()
        self._looked = 0.0
        self._taken: dict[int, Share] | None = None

    def take(self, uid: int, octets: int, unseen: int) -> None:
        """unseen: octets of all users that the disk does not know of yet."""
        with self._lock:
            share = self._checked(uid, octets, unseen)
            if share is not None:
                share.octets += octets

    def begin(self, uid: int, octets: int, unseen: int) -> None:
        """One more file is to come, of so many octets."""
        with self._lock:
            share = self._checked(uid, octets, unseen)
            if share is not None:
                share.files += 1

    def _checked(self, uid: int, octets: int, unseen: int) -> "Share | None":
        """The user's share, None where there is plenty."""
        settings = self._settings
        space = posix.statvfs(settings.spool)
        left = space.f_bavail * space.f_frsize - settings.min_free_space - unseen
        files = space.f_favail if space.f_files else _PLENTY_OF_FILES
        if left >= _PLENTY * settings.max_message_size and files >= _PLENTY_OF_FILES:
            return None
        if octets > left:
            raise NoSpace(
                f"the disk of the spool {settings.spool} has no room for it above min_free_space; nothing was accepted"
            )
        share = self._look().setdefault(uid, Share())
        if share.octets + octets > left or share.files >= files:
            raise NoSpace(
                f"the mail of uid {uid} has its share of the disk of the spool {settings.spool}; nothing was accepted"
            )
        return share

    def _look(self) -> "dict[int, Share]":
        now = self._clock()
        if self._taken is None or now - self._looked > _FRESH:
            self._taken, self._looked = taken(self._settings.spool), now
        return self._taken


class Share:
    """What the messages of one user take of the disk. octets: in whole blocks."""

    __slots__ = ("files", "octets")

    def __init__(self) -> None:
        self.octets = self.files = 0


def taken(spool: str) -> dict[int, Share]:
    """The shares of all messages in a spool, those that are being written too, by the uid that handed them in."""
    found: dict[int, Share] = {}
    for folder in ("tmp", "new", "cur", "hold"):
        for name in posix.listdir(f"{spool}/{folder}"):
            try:
                descriptor = posix.open(f"{spool}/{folder}/{name}", posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
            except OSError:
                continue  # it has moved on meanwhile
            try:
                head, status = posix.read(descriptor, _HEAD), posix.fstat(descriptor)
            finally:
                posix.close(descriptor)
            digits = head.partition(_UID)[2].partition(b",")[0]
            if digits.isdigit():
                share = found.setdefault(int(digits), Share())
                share.octets += status.st_blocks * 512
                share.files += 1
    return found
