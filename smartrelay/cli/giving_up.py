"""`queue expire` and `queue delete --bounce`: messages are given up, and their senders told."""

# a notice needs these when root has become the spool's owner, who may not be able to read the interpreter
import email.header  # noqa: F401
import hashlib  # noqa: F401
from collections.abc import Callable

from smartrelay import config as configuration
from smartrelay.cli.caller import Common
from smartrelay.mail import dsn  # noqa: F401
from smartrelay.maillog import MailLog
from smartrelay.relay.giving_up import GivingUp, Verdict, expired, removed
from smartrelay.sinks import open_sink
from smartrelay.spool.operator_queue import OperatorQueue

__all__ = ["expired", "prepared", "removed"]


def prepared(common: Common, verdict: Verdict, wait: float) -> Callable[[str, str], None]:
    """What gives up one message of a spool, by its id. wait: seconds for one that is in hand.

    To be called before a process of root's becomes the spool's owner: it reads the configuration. Raises ConfigError.
    """
    config = configuration.load(common.config, common.spool)
    log = MailLog(open_sink("queue", config.log, quiet=common.verbosity < 0))

    def act(spool: str, one: str) -> None:
        untold = GivingUp(OperatorQueue(spool, wait=wait), config, log, verdict).give_up(one)
        if untold:
            common.say(f"{one}: nobody is told: {untold}")

    return act
