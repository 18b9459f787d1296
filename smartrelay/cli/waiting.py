"""Why one message waits now: what the spool knows besides its journal."""

from collections.abc import Callable

from smartrelay.cli.moment import moment
from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT, Incident, Incidents
from smartrelay.spool.listing import Entry


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
    return found


def _incident(incident: Incident) -> str:
    begin = "No pass can be made: " if incident.kind == CONFIGURATION else ""
    return f"{begin}{incident.sentence} (since {moment(incident.since)})."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
