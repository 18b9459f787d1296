"""A machine whose passes tell how it stands."""

import json
import os
import time
from typing import Any

from smartrelay.spool import queue_id
from smartrelay.spool.queue import Queue
from tests.e2e.commands import Machine
from tests.support.queues import put

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
REFUSING = "smtp+notls://127.0.0.1:1"
"""A relay that nobody is at."""


class Told(Machine):
    """A machine with a status file, in a directory that a pass makes."""

    def configure(self, *tables: str, top: str = "") -> None:
        self.status_file = os.path.join(self.folder, "run/status.json")
        super().configure(*tables, top=f'status_file = "{self.status_file}"\n{top}')

    def status(self) -> Any:
        with open(self.status_file, encoding="ascii") as file:
            return json.load(file)

    def health(self, code: int, *arguments: str) -> str:
        """What it says, in this state."""
        result = self.run("health", *arguments)
        assert (result.code, result.errors) == (code, ""), result
        text = result.output.decode()
        assert text.endswith("\n")
        return text

    def old(self, seconds: float, state: str = "new") -> str:
        """A message that came in so long ago: its id says so."""
        one = queue_id.new(int((time.time() - seconds) * 1e6), os.urandom(6))
        put(Queue(self.spool), [YOU], sender="", one=one, arrived=time.time() - seconds)
        if state != "new":
            os.rename(f"{self.spool}/new/{one}", f"{self.spool}/{state}/{one}")
        return one
