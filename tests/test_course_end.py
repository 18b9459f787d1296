"""What a next hop's hosts add up to when none of them takes the mail: whom that rests on decides whether the mail ages."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from smartrelay.config import Relay
from smartrelay.mail.status import ASKED, DEFERRED, FAILED, OURS, REMEMBERED, Status
from smartrelay.relay.blame import judge
from smartrelay.relay.course import Course
from smartrelay.relay.hosts import Hosts
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.routing.mx import MXCalculator
from smartrelay.routing.relays import Routes
from smartrelay.routing.resolver import DNSResolver
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from tests.support.clock import FakeClock
from tests.support.configuration import configuration
from tests.support.dns_server import DnsServer

DAY = 86400.0
REFUSED = Answer(Phase.CONNECT, trouble=Trouble.NO_ROUTE, text="connection refused")
CERTIFICATE = Answer(Phase.TLS, trouble=Trouble.CERTIFICATE, text="certificate refused")


class Way:
    """The course of a relay with these hosts, and a memory for bad hosts that lasts for a day."""

    def __init__(self, folder: Path, clock: FakeClock, *hosts: str, dns: DnsServer | None = None) -> None:
        self.clock = clock
        self.memory = BadHosts(os.fspath(folder / "hosts.json"), nullcontext, timeout=DAY, clock=clock, warn=pytest.fail)
        relay = Relay("work", tuple((host,) for host in hosts), "w:")
        routes = Routes.of(configuration(os.fspath(folder), relay))
        calculator = MXCalculator(DNSResolver([dns.where], 5.0)) if dns else None
        self.hosts = Hosts(
            calculator,
            self.memory,
            9,
            offline=lambda: False,
            unresolved=lambda: False,
            shuffle=lambda each: None,
            clock=clock,
        )
        hop = routes.next_hop("s@a.example", "r@b.example")
        assert hop is not None
        self.course = Course(hop, self.hosts)

    def ends(self, *answers: Answer) -> Status:
        """What the mail's status is when each host that may be connected to has ended like this."""
        for answer in answers:
            stop = self.course.from_stop(0)
            assert stop is not None
            self.course.leave(stop[0], judge(answer, str(stop[1]), exchanger=stop[1].exchanger), answer)
        assert self.course.from_stop(0) is None
        return self.course.reason()


ONE, OTHER = "smtp+notls://one.example", "smtp+notls://other.example"


def test_who_was_asked_counts_though_another_is_only_remembered(tmp_path: Path, clock: FakeClock) -> None:
    """Law 11: a connection in this pass is a last attempt, whatever is known of the next host in the list."""
    way = Way(tmp_path, clock, ONE, OTHER)
    for _ in range(20):  # until its probes are a day apart
        way.memory.mark_bad("other.example:25", "was down")
        clock.advance(DAY / 2)
        way.memory.claim_probe("other.example:25")
    way.memory.mark_bad("other.example:25", "was down")
    clock.advance(2 * 3600)
    status = way.ends(REFUSED)
    assert (status.action, status.basis) == (DEFERRED, ASKED)
    assert "was down" in status.text


def test_a_host_that_is_only_remembered_is_no_last_attempt_after_an_hour(tmp_path: Path, clock: FakeClock) -> None:
    way = Way(tmp_path, clock, ONE)
    for _ in range(20):
        way.memory.mark_bad("one.example:25", "was down")
        clock.advance(DAY / 2)
        way.memory.claim_probe("one.example:25")
    way.memory.mark_bad("one.example:25", "was down")
    clock.advance(3600)
    assert way.ends().basis == ASKED  # a probe that failed within the last hour
    clock.advance(1)
    assert way.ends().basis == REMEMBERED


@pytest.mark.parametrize("answers", [(CERTIFICATE, REFUSED), (REFUSED, CERTIFICATE)])
def test_where_our_account_is_at_fault_at_one_host_the_mail_waits(
    tmp_path: Path, clock: FakeClock, answers: tuple[Answer, Answer]
) -> None:
    """Law 5: that host might have taken it, so it is not the others that bounce it."""
    assert Way(tmp_path, clock, ONE, OTHER).ends(*answers).basis == OURS


def test_a_relay_whose_name_leads_nowhere_is_our_mistake(tmp_path: Path, clock: FakeClock) -> None:
    """Law 5: configuration of a relay holds its mail, and never bounces it."""
    with DnsServer({"b.example": ["A 127.0.0.1"]}) as dns:
        status = Way(tmp_path, clock, "mx+smtp+notls://typo.example", dns=dns).ends()
        assert (status.action, status.dsn, status.basis) == (DEFERRED, "4.1.2", OURS)
        dns.zone = {"typo.example": ["MX 0 ."]}
        status = Way(tmp_path, clock, "mx+smtp+notls://typo.example", dns=dns).ends()
        assert (status.action, status.dsn, status.basis) == (DEFERRED, "4.1.10", OURS)


def test_a_recipients_domain_that_does_not_exist_is_not(tmp_path: Path, clock: FakeClock) -> None:  # B-008
    with DnsServer({}) as dns:
        status = Way(tmp_path, clock, "mx", dns=dns).ends()
        assert (status.action, status.dsn) == (FAILED, "5.1.2")


def test_a_domain_whose_every_exchanger_refuses_takes_no_mail_and_a_relay_makes_a_mistake(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A-003: RFC 5321 section 3.1."""
    no = Answer(Phase.GREETING, Reply(554, ("5.7.1 no",)))
    assert Way(tmp_path, clock, ONE, OTHER).ends(no, no).action == DEFERRED
    with DnsServer(
        {"b.example": ["MX 1 m.b.example", "MX 2 n.b.example"], "m.b.example": ["A 127.0.0.1"], "n.b.example": ["A 127.0.0.1"]}
    ) as dns:
        assert Way(tmp_path, clock, "mx", dns=dns).ends(no, no).action == FAILED
