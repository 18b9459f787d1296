"""What every command is told: which configuration, which spool, how much to say."""

import sys
from contextlib import suppress

from smartrelay import settings
from smartrelay.mail.status import visible
from smartrelay.spool import access


class Common:
    """--config, --spool, -v and -q, as given before or behind the command's name. No dataclass: to load those takes a tenth
    of an idle pass."""

    def __init__(self, config: str = "", spool: str = "", verbosity: int = 0) -> None:
        self.config = config
        self.spool = spool
        self.verbosity = verbosity

    def enter_spool(self) -> settings.Settings:
        """Becomes the owner of a spool that is there; the settings for it. Raises what `spool.access.enter` raises."""
        found = settings.load(self.config, self.spool)
        access.enter(found.spool, direct=found.direct, make=False)
        return found

    def say(self, text: str) -> None:
        """A word to the person on standard error, unless they asked for quiet."""
        if self.verbosity >= 0:
            say(text)


def say(sentence: str) -> None:
    """A word to the person on standard error."""
    with suppress(OSError):  # that nobody can hear it changes nothing about what was done
        print(f"smartrelay: {visible(sentence)}", file=sys.stderr)
