"""Where programs hand in their mail: the socket of the sendmail command, and SMTP for programs of this host."""

import os
from collections.abc import Callable

from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.checks.host import impatient, refusal, within
from smartrelay.config import Config
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer
from smartrelay.smtp.opening import Policy, open_session


def trials(config: Config, submit_socket: str, seconds: float) -> list[Callable[[], Finding]]:
    """For each place that the configuration names, its trial. submit_socket: "" for none."""
    places = [Target("localhost", path=submit_socket)] if submit_socket else []
    places += [Target(address, port) for address, port in config.submit.listen]
    return [lambda place=place: _try(place, config, seconds) for place in places]  # type: ignore[misc]


def _try(place: Target, config: Config, seconds: float) -> Finding:
    where = str(place)
    if place.path and not os.path.exists(place.path):
        words = "it is not there, so that only root and the spool's owner can send mail"
        mend = 'start smartrelay-submit.socket or `flush --every 1m --listen`; if nobody else shall, submit_socket = ""'
        return Finding(WARN, "submission", words, mend, host=where)
    policy = Policy(config.hostname, impatient(config, seconds).timeouts, tls="none")
    opened = open_session(place, policy, connector=within(seconds))
    if isinstance(opened, Answer):
        mend = "start smartrelay-submit.socket, smartrelay-smtp.socket or `flush --every 1m --listen`"
        return Finding(FAIL, "submission", refusal(opened), mend, host=where)
    opened.close()
    return Finding(OK, "submission", "mail is taken there", host=where)
