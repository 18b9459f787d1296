"""What `queue retry` does besides: the hosts that the messages wait for are taken off the bad-host memory."""

from smartrelay.cli.caller import Common
from smartrelay.cli.hosts import memory_of
from smartrelay.cli.way import rules
from smartrelay.errors import ConfigError
from smartrelay.relay.hosts import awaited
from smartrelay.spool.listing import Entry


class Forgiving:
    """Collects hosts, to forget all at once that they are bad. Made before a process of root's becomes the spool's owner."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._rules = rules(common)
        self._keys: set[str] = set()

    def add(self, entry: Entry) -> None:
        """One more message: the hosts that it was left without, and those that its rules name."""
        if isinstance(self._rules, ConfigError) or entry.state == "held":
            return
        envelope = entry.envelope
        for index in entry.history.waiting:
            hop = self._rules.next_hop(envelope.reverse_path, envelope.recipients[index].address)
            self._keys |= awaited(hop, entry.history, [index])

    def forgive(self, spool: str) -> bool:
        """Forgets it of all that were collected; False where the memory cannot be written, which has been said."""
        if isinstance(self._rules, ConfigError):
            self._common.say(f"the bad-host memory is as it was: {self._rules}")
            return True
        memory = memory_of(spool, self._common.say)
        found = memory.reset(self._keys)
        if not found:
            return True
        if not memory.save():
            self._common.say("the bad-host memory is as it was")
            return False
        self._common.say(f"{found[0] if len(found) == 1 else f'{len(found)} hosts'} forgotten in the bad-host memory")
        return True
