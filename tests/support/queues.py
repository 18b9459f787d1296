"""Spools with messages in them, made by the program's own code."""

import os
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings

from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.spool import making
from smartrelay.spool.access import FORMAT
from smartrelay.spool.queue import Queue

TEXT = b"Subject: one\nFrom: a@example.org\n\nHello\n"
LAWFUL = b"Date: Thu, 1 Jan 1970 00:00:00 +0000\nMessage-ID: <m@example.org>\n" + TEXT
"""With what submission would have added."""

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def scratch() -> TemporaryDirectory[str]:
    """A folder for many short lives of a spool: in memory, where the system has a place for that."""
    return TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def new_spool(folder: str) -> str:
    """An empty spool below `folder`."""
    spool = f"{folder}/the-spool"
    os.mkdir(spool, 0o700)
    making.furnish(spool, FORMAT)
    return spool


def put(
    queue: Queue,
    recipients: Sequence[str] = ("r1@example.net",),
    *,
    sender: str = "s@example.org",
    text: bytes = TEXT,
    one: str = "",
    arrived: float = 1_800_000_000.0,
    notify: str | Sequence[str] = "",
    ret: str = "",
    notice_of: tuple[str, int] = ("", 0),
) -> str:
    """A message in `new/`; returns its id. notify: of all recipients, or of each."""
    wishes = [notify] * len(recipients) if isinstance(notify, str) else notify
    wanted = [Recipient(recipient, wish) for recipient, wish in zip(recipients, wishes, strict=True)]
    envelope = Envelope(sender, wanted, arrived, os.getuid(), "<m@example.org>", ret, notice_of=notice_of)
    draft = queue.create_new_message(envelope, one)
    draft.write(text)
    draft.commit()
    return draft.queue_id


def files(spool: str) -> dict[str, list[str]]:
    """The names in each directory of the spool that has any."""
    found = {name: sorted(os.listdir(f"{spool}/{name}")) for name in making.DIRECTORIES}
    return {name: names for name, names in found.items() if names}


def pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """`data` cut at these places (each taken modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:end]
