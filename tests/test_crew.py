"""Whatever fails under a pass (a thread, a file, we ourselves): it ends, and what was sent is not left without its verdict."""

import threading
from pathlib import Path

import pytest

from smartrelay.relay.factory import ESMTPManagedRelayerFactory, SMTPManagedRelayerFactory
from smartrelay.relay.manager import SmartHostESMTPRelayingManager
from smartrelay.relay.report import Report
from smartrelay.routing.relays import NextHop
from tests.support.place import Place, recipients, rule
from tests.support.queues import files, put
from tests.test_attempt import Start


class WithABug(SmartHostESMTPRelayingManager):
    """Whatever connects raises what nobody foresaw."""

    def _factory(self, hop: NextHop) -> SMTPManagedRelayerFactory:
        def connector(*args: object) -> object:
            raise UnicodeError("label too long")

        if hop.name == "bad":
            return ESMTPManagedRelayerFactory(hop, self._config, self._stopping, connector)  # type: ignore[arg-type]
        return super()._factory(hop)


def test_a_bug_at_one_next_hop_ends_and_leaves_its_mail_and_all_other_mail_alone(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    for number in range(20):
        put(place.queue, [f"r{number}@bad", f"r{number}@good"])
    place.kind = WithABug
    report = place.run(rule(server, name="good", recipient="*@good"), rule(1, name="bad", recipient="*@bad"))
    assert (report.sent, report.deferred, report.bounced, report.failed) == (20, 0, 0, True)
    assert 1 <= len([line for line in place.lines if "a bug of smartrelay" in line]) <= 3
    assert [entry.history.waiting for entry in place.left()] == [[0]] * 20


def test_without_a_further_thread_the_pass_ends_and_keeps_the_mail(place: Place, smtp_server: Start) -> None:
    put(place.queue)
    manager = place.manager(smtp_server())
    before = threading.stack_size(1 << 46)  # no system has so much
    try:
        with pytest.raises(OSError, match="no further thread"):
            manager.check_state()
    finally:
        threading.stack_size(before)
    assert place.run(smtp_server()).sent == 1


def test_a_pass_that_fails_writes_what_came_of_the_mail_that_is_on_its_way(place: Place, smtp_server: Start) -> None:
    """It would be sent again, and nobody would know that it may be."""
    server = smtp_server()
    gate = server.gate("DOT")
    put(place.queue)

    def progress(report: Report, backlog: int) -> None:
        if server.transactions:
            gate.wait_reached()
            gate.open()
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        place.manager(server, progress=progress).check_state()
    assert len(server.accepted) == 1 and files(place.spool) == {}


@pytest.mark.parametrize("address", ["bad@nowhere", "bad@x"])
def test_a_journal_that_cannot_be_read_stops_no_other_mail(place: Place, smtp_server: Start, address: str) -> None:  # C-013
    """Neither of a message that goes somewhere nor of one that no rule takes."""
    server = smtp_server()
    bad, _ = put(place.queue, [address]), put(place.queue, ["good@x"])
    (Path(place.spool) / "state" / bad).mkdir()
    report = place.run(rule(server, recipient="*@x"))
    assert (report.sent, report.failed, report.stopped) == (1, True, False)
    assert [entry.queue_id for entry in place.left()] == [bad] and recipients(server) == ["good@x"]
