"""What passes note for an operator: relays that do not let us in, messages in doubt for the third time; until it is over."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.config import Auth
from smartrelay.spool.incidents import ACCOUNT, DOUBT, Incident, Incidents
from smartrelay.spool.queue import Queue
from tests.support.clock import FakeClock
from tests.support.place import Place, rule
from tests.support.queues import put
from tests.support.smtp_server import Action, Answer, ScriptedServer, Session

Start = Callable[..., ScriptedServer]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path))


def noted(place: Place, clock: FakeClock) -> list[Incident]:
    return Incidents(place.spool, clock=clock, warn=pytest.fail).entries()


def test_a_refused_password_is_an_incident_until_mail_goes_again(
    place: Place, smtp_server: Start, clock: FakeClock
) -> None:
    server = smtp_server(credentials=("me", "other"))
    work = rule(server, auth=Auth("me", "wrong", "plain", literal=True))
    for passes in (1, 2):
        put(Queue(place.spool), ["a@x"])
        place.run(work, everything=True)
        (incident,) = noted(place, clock)
        assert (incident.kind, incident.name, incident.passes) == (ACCOUNT, "work", passes)
        assert incident.sentence.startswith("relay work cannot be used: 535 ")
    place.run(rule(server, auth=Auth("me", "other", "plain", literal=True)), everything=True)
    assert len(server.accepted) == 2
    assert noted(place, clock) == [] and "incidents.json" not in os.listdir(f"{place.spool}/var")


def test_a_relay_that_lets_us_in_and_then_wants_a_password_is_one_incident(
    place: Place, smtp_server: Start, clock: FakeClock
) -> None:
    """530 comes in a session that stands, and that has taken other mail: that ends nothing, or it would begin anew with each
    pass. The log says it once in each."""
    server = smtp_server(replies={"MAIL FROM:<me@": b"530 5.7.0 sign in first"})
    for sender in ("you@x", "me@x", "me@y", "you@x"):
        put(Queue(place.spool), ["a@x"], sender=sender)
    place.run(server)
    (first,) = noted(place, clock)
    place.run(server, everything=True)
    (second,) = noted(place, clock)
    assert (second.since, second.passes) == (first.since, 2)
    why = "530 5.7.0 sign in first (there is no auth in its [[relay]])"
    assert second.sentence == f"relay work cannot be used: {why}; its mail waits until this is put right"
    assert place.lines.count(second.sentence) == 2
    assert len(server.accepted) == 1 and len(place.left()) == 3


def test_another_host_that_takes_the_mail_ends_it(place: Place, smtp_server: Start, clock: FakeClock) -> None:
    refusing, taking = smtp_server(credentials=("me", "other")), smtp_server(credentials=("me", "right"))
    put(Queue(place.spool), ["a@x"])
    place.run(rule(refusing, taking, auth=Auth("me", "right", "plain", literal=True)))
    assert noted(place, clock) == [] and place.left() == []


def test_the_third_doubt_is_an_incident_until_the_message_has_left(place: Place, smtp_server: Start, clock: FakeClock) -> None:
    """Law 10: its recipients may get it at each attempt."""
    lost = True

    def verdict(point: str, argument: bytes, session: Session) -> Answer | None:
        return Action.CLOSE if point == "DOT" and lost else None

    server = smtp_server(on=verdict)
    one = put(Queue(place.spool), ["a@x"])
    for times in range(1, 5):
        place.run(server, everything=True)
        assert [(each.kind, each.name, each.passes) for each in noted(place, clock)] == (
            [(DOUBT, one, times - 2)] if times >= 3 else []
        )
    assert "4 times" in noted(place, clock)[0].sentence
    lost = False
    place.run(server, everything=True)
    assert noted(place, clock) == [] and place.left() == []


def test_a_pass_without_incidents_writes_nothing(place: Place, smtp_server: Start) -> None:
    put(Queue(place.spool), ["a@x"])
    place.run(smtp_server())
    assert os.listdir(f"{place.spool}/var") == []
