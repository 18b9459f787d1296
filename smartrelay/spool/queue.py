"""The queue as a pass sees it: the messages that wait, and those that are in the process of being relayed.

Nothing above this class knows files, so that a second engine can stand behind it. All methods may be called from several
threads. What a crash leaves at any step: a draft in `tmp/` (acknowledged to nobody, swept by age), a message in its old
state or its new one (renames), a journal without a message (removed by `sweep`), never a message lost.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smartrelay.errors import SpoolError
from smartrelay.mail.envelope import Envelope
from smartrelay.spool import names, queue_id, remains
from smartrelay.spool.durable import Draft, sync_directory
from smartrelay.spool.history import History
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.message import MessageInHand, lock, peek
from smartrelay.spool.operate import taken
from smartrelay.spool.remains import Warn
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

_BATCH = 100
_BATCH_SECONDS = 1.0

_KEPT = 1000
"""Envelopes that are kept from the plan until their message is taken in hand; memory must not grow with the queue."""


class Queue:
    """The spool at `spool`, as one pass works on it.

    clock: Unix seconds. entropy: like os.urandom. horizon: seconds beyond which a next attempt is taken for a clock's
    mistake. warn: told in a sentence of what was set aside.
    """

    def __init__(
        self,
        spool: str,
        *,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        horizon: float = names.SANE_FUTURE,
        warn: Warn = lambda text: None,
    ) -> None:
        self.spool = spool
        self._clock = clock
        self._entropy = entropy
        self._horizon = horizon
        self._warn = warn
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = {}
        self._next_due = 0.0
        self._envelopes: dict[str, Envelope] = {}
        self._relayed: dict[str, MessageInHand] = {}
        self._unseen: set[str] = set()
        self._finished: list[Journal] = []
        self._finished_since = 0.0

    def must_be_writable(self) -> None:
        """Raises SpoolError when verdicts could not be written: then nothing may be sent (it would be sent again and again)."""
        for directory in (names.NEW, names.CUR, "state", "tmp"):
            path = f"{self.spool}/{directory}"
            if not os.access(path, os.W_OK | os.X_OK):
                raise SpoolError(f"cannot write to {path}: read-only or not ours; nothing was sent")

    # what waits

    def take_in(self, wanted: Callable[[Envelope, str], bool] | None = None) -> list[str]:
        """Moves `new/` to `cur/` (all of it, or the wanted); returns the ids. Nothing else empties `new/`."""
        taken = []
        for name in sorted(os.listdir(f"{self.spool}/{names.NEW}")):
            if not queue_id.is_valid(name):
                self._set_aside(names.NEW, name, "its name is no queue id")
                continue
            if name in self._unseen or (wanted is not None and not self._is_wanted(name, wanted)):
                continue
            due = names.waiting_name(name, self._clock())
            try:
                os.rename(f"{self.spool}/{names.NEW}/{name}", f"{self.spool}/{names.CUR}/{due}")
            except FileNotFoundError:
                continue  # an operator was quicker
            taken.append(name)
            with self._lock:
                self._waiting[name] = due
        return taken

    def _is_wanted(self, name: str, wanted: Callable[[Envelope, str], bool]) -> bool:
        try:
            return wanted(self.get_envelope(name), name)
        except (NoSuchMessage, CorruptMessage, OSError):
            return False

    def read_directory(self, *, everything: bool = False) -> int:
        """Looks at `cur/` again for what is due (or for all of it); returns how many messages are not."""
        scan = names.Scan(self.spool, self._clock(), self._horizon, everything=everything)
        for name in scan.strange:
            self._set_aside(names.CUR, name, "its name is no queue id")
        with self._lock:
            self._waiting = {name[: queue_id.LENGTH]: name for name in scan.due if name[: queue_id.LENGTH] not in self._relayed}
            self._next_due = scan.next_due
        return scan.waiting

    def make_due(self, wanted: Callable[[Envelope, History], bool]) -> int:
        """Makes those of the deferred messages due now that are wanted; returns how many. Reads all that are deferred."""
        now, count = self._clock(), 0
        for name in os.listdir(f"{self.spool}/{names.CUR}"):
            found = names.split(name)
            if found is None or found[1] <= now or found[0] in self._relayed:
                continue
            one, path = found[0], f"{self.spool}/{names.CUR}/{name}"
            try:
                envelope = peek(path)
                history = History(len(envelope.recipients)).replay(Journal(self.spool, one).events)
                if wanted(envelope, history):
                    os.rename(path, f"{self.spool}/{names.CUR}/{names.waiting_name(one, now)}")
                    count += 1
            except (NoSuchMessage, CorruptMessage, OSError):
                continue  # an operator was quicker, or a pass will find out what is wrong with it
        if count:
            with self._lock:
                self._next_due = 0.0
        return count

    def get_waiting(self) -> list[str]:
        """The ids of the messages that are due, oldest first."""
        with self._lock:
            return sorted(self._waiting)

    def has_waiting(self) -> bool:
        """Whether any message is due, as far as the last look went."""
        return bool(self._waiting)

    @property
    def next_due(self) -> float:
        """When the next of the messages becomes due that were not at the last look."""
        return self._next_due

    def get_relayed(self) -> list[str]:
        """The ids of the messages that this pass has in hand."""
        with self._lock:
            return sorted(self._relayed)

    # one message

    def set_relaying(self, one: str) -> MessageInHand:
        """Takes a waiting message in hand. Raises MessageBusy, NoSuchMessage, CorruptMessage after setting it aside, or OSError
        when it could not be opened for a reason of ours: then another pass will."""
        with self._lock:
            name = self._waiting.pop(one, None)
        if name is None:
            raise NoSuchMessage(f"{one} does not wait")
        try:
            known = self._envelopes.pop(one, None)
            message = MessageInHand(self.spool, f"{self.spool}/{names.CUR}/{name}", one, known)
        except CorruptMessage as error:
            self._set_aside(names.CUR, name, str(error))
            raise
        with self._lock:
            self._relayed[one] = message
        return message

    def set_waiting(self, one: str, due: float) -> None:
        """Lets a message go that is to be tried again at `due`."""
        message = self._relayed[one]
        name = names.waiting_name(one, due)
        path = f"{self.spool}/{names.CUR}/{name}"
        try:
            if path != message.path:
                os.rename(message.path, path)
        finally:
            with self._lock:
                self._relayed.pop(one)
                self._next_due = min(self._next_due, due) if self._next_due else due
            message.close()

    def put_back(self, one: str) -> None:
        """Lets a message go that this pass will take in hand again: it waits as it did before."""
        with self._lock:
            message = self._relayed.pop(one)
            self._waiting[one] = message.path.rpartition("/")[2]
        message.close()

    def note_published(self, origin: str, event: Event) -> None:
        """Adds `event` ("bounced") to the journal of `origin` if that message is still there and does not know it.

        Raises MessageBusy while somebody else is about to write it.
        """
        with self._lock:
            in_hand = self._relayed.get(origin)
        if in_hand is not None:
            if any(notice.number == event["number"] for notice in in_hand.history.owed):
                raise MessageBusy(f"{origin} is in hand, and does not know yet that its notice is published")
            return
        try:
            descriptor = taken(self.spool, origin, lock, wait=0.0)
        except (NoSuchMessage, CorruptMessage):
            return
        # (MessageBusy: an operator has it for a moment; the notice waits for the next pass rather than write beside them)
        try:
            journal = Journal(self.spool, origin)
            known = any(e.get("event") == "bounced" and e.get("number") == event["number"] for e in journal.events)
            if journal.exists and not known:
                journal.append(event, sync=True)
        finally:
            os.close(descriptor)

    @contextmanager
    def unseen(self, one: str) -> Iterator[None]:
        """Leaves a message in `new/` that is about to be published there, until its origin knows that it is."""
        self._unseen.add(one)
        try:
            yield
        finally:
            self._unseen.discard(one)

    def add_message(self, one: str) -> None:
        """Tells of a message that this pass itself has published in `new/`."""
        path = f"{self.spool}/{names.NEW}/{one}"
        due = names.waiting_name(one, self._clock())
        try:
            os.rename(path, f"{self.spool}/{names.CUR}/{due}")
        except FileNotFoundError:
            return
        with self._lock:
            self._waiting[one] = due

    def done(self, one: str) -> list[str]:
        """Ends a message whose every recipient is final and to whom nothing is owed: the unlink is the verdict.

        Returns the ids that this has settled: a batch of them, now and then.
        """
        message = self._relayed[one]
        try:
            os.unlink(message.path)
        finally:
            with self._lock:
                self._relayed.pop(one)
            message.close()
        with self._lock:
            if not self._finished:
                self._finished_since = self._clock()
            self._finished.append(message.journal)
            full = len(self._finished) >= _BATCH or not 0 <= self._clock() - self._finished_since < _BATCH_SECONDS
        return self.settle() if full else []

    def settle(self) -> list[str]:
        """Makes the unlinks so far durable, then lets their journals go; returns the ids. Called at each connection's end."""
        with self._lock:
            finished, self._finished = self._finished, []
        if finished:
            sync_directory(f"{self.spool}/{names.CUR}")
        for journal in finished:
            if journal.exists:
                journal.remove()
        return [journal.queue_id for journal in finished]

    def get_envelope(self, one: str) -> Envelope:
        """The envelope of a message, without taking it in hand."""
        envelope = peek(self.get_path(one))
        if len(self._envelopes) < _KEPT:
            self._envelopes[one] = envelope
        return envelope

    def get_path(self, one: str) -> str:
        """The file of a message now, for a person to look at. Raises NoSuchMessage."""
        with self._lock:
            name = self._waiting.get(one)
            message = self._relayed.get(one)
        if message is not None:
            return message.path
        if name is not None:
            return f"{self.spool}/{names.CUR}/{name}"
        return names.find(self.spool, one)

    def create_new_message(self, envelope: Envelope, one: str = "") -> Draft:
        """A draft of a new message, with an id derived elsewhere or a new one."""
        if one:
            # a derived id has one writer, the pass; a draft of that name is what a crash left
            try:
                os.unlink(f"{self.spool}/tmp/{one}")
            except FileNotFoundError:
                pass
        return Draft(self.spool, one or queue_id.new(int(self._clock() * 1e6), self._entropy(6)), envelope)

    def count_waiting(self) -> int:
        """How many messages the queue holds, but for held ones."""
        return len(os.listdir(f"{self.spool}/{names.NEW}")) + len(os.listdir(f"{self.spool}/{names.CUR}"))

    def probe(self, one: str) -> None:
        """Takes a waiting message in hand for a moment: one that is corrupt is set aside by that."""
        try:
            self.set_relaying(one)
        except (NoSuchMessage, CorruptMessage, MessageBusy, OSError):
            return
        self.put_back(one)

    def is_published(self, one: str) -> bool:
        """Whether a message with this (derived) id stands in the queue in any state, on disk for good."""
        try:
            path = self.get_path(one)
        except NoSuchMessage:
            return False
        sync_directory(os.path.dirname(path))  # a crash may have come between its link and that sync
        return True

    def sweep(self) -> None:
        """Removes what a crash left."""
        remains.sweep(self.spool, self._clock())

    def _set_aside(self, directory: str, name: str, why: str) -> None:
        remains.set_aside(self.spool, directory, name, why, self._warn)
