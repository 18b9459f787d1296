"""Why one message waits now: what the spool knows besides its journal."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf

from smartrelay.cli.moment import moment
from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.routing.candidates import key_of
from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT, Incident, Incidents
from smartrelay.spool.listing import Entry
from smartrelay.spool.lock import hosts_lock


def why(entry: Entry, spool: str, now: float, warn: Callable[[str], None]) -> list[str]:
    """The reasons, a sentence each. warn: told of what cannot be read."""
    history = entry.history
    if entry.state == "held":
        return ["It is held and goes nowhere until it is released; until then it does not age."]
    found = []
    incidents = Incidents(spool, clock=lambda: now, warn=warn)
    for kind, name in ((CONFIGURATION, ""), (ACCOUNT, history.relay), (DOUBT, entry.queue_id)):
        if (incident := incidents.get(kind, name)) is not None:
            found.append(_capital(_incident(incident)))
    if history.events and history.events[-1]["event"] == "postponed":
        found.append(f"The rate of relay {history.events[-1].get('relay')} was used up.")
    memory = BadHosts(f"{spool}/hosts.json", partial(hosts_lock, spool), timeout=inf, warn=warn)
    for host in dict.fromkeys(status.host for index in history.waiting if (status := history.last[index]) is not None):
        with suppress(ValueError):  # a damaged journal
            if host and (bad := memory.get(key_of(host))) is not None:
                found.append(_bad(bad, now))
    return found


def _incident(incident: Incident) -> str:
    begin = "No pass can be made: " if incident.kind == CONFIGURATION else ""
    return f"{begin}{incident.sentence} (since {moment(incident.since)})."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _bad(bad: BadHost, now: float) -> str:
    probe = "with the next pass" if bad.probe <= now else f"{moment(bad.probe)} at the earliest"
    return f"Host {bad.key} has not been well since {moment(bad.since)}: {bad.reason}; it is asked again {probe}."
