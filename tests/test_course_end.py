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

    def __init__(
        self, folder: Path, clock: FakeClock, *hosts: str, dns: DnsServer | None = None, forgiving: bool = False
    ) -> None:
        self.clock = clock
        self.memory = BadHosts(os.fspath(folder / "hosts.json"), nullcontext, timeout=DAY, clock=clock, warn=pytest.fail)
        relay = Relay("work", tuple((host,) for host in hosts), "w:")
        routes = Routes.of(configuration(os.fspath(folder), relay))
        calculator = MXCalculator(DNSResolver([dns.where], 5.0)) if dns else None
        self.hosts = Hosts(
            calculator,
            self.memory,
            9,
            forgiving=forgiving,
            offline=lambda: False,
            unresolved=lambda: False,
            shuffle=lambda each: None,
            clock=clock,
        )
        hop = routes.next_hop("s@a.example", "r@b.example")
        assert hop is not None
        self.course = Course(hop, self.hosts, clock)

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


def test_a_connection_for_which_we_had_no_descriptor_says_nothing_of_the_host(tmp_path: Path, clock: FakeClock) -> None:
    """Laws 5 and 11: the mail waits, does not expire by it, and others go there."""
    way = Way(tmp_path, clock, ONE)
    status = way.ends(Answer(Phase.CONNECT, trouble=Trouble.NO_ROOM, text="too many open files"))
    assert (status.action, status.basis, way.memory.entries()) == (DEFERRED, OURS, [])


# A pass that goes on


def test_a_host_that_failed_may_be_asked_again_when_its_probe_is_due(tmp_path: Path, clock: FakeClock) -> None:
    """C-010: a pass can last for hours (another host hangs); a relay that was away for ten seconds costs a minute all the same.
    What waited when it failed has been put off by then, so no message goes there twice."""
    way = Way(tmp_path, clock, ONE, OTHER)
    way.ends(REFUSED, REFUSED)
    way.course.begin_again()
    assert way.course.from_stop(0) is None
    clock.advance(60)
    stop = way.course.from_stop(0)
    assert stop is not None and stop[0] == 0


def test_a_host_that_failed_may_be_asked_again_when_it_is_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    """A running pass sees `hosts reset`, and that another next hop has reached the host."""
    way = Way(tmp_path, clock, ONE, OTHER)
    way.ends(REFUSED, REFUSED)
    way.memory.reset(["other.example"])
    way.course.begin_again()
    stop = way.course.from_stop(0)
    assert stop is not None and stop[0] == 1


def test_a_message_is_not_taken_to_a_host_twice(tmp_path: Path, clock: FakeClock) -> None:
    """Though its probe is due again before the last host has failed."""
    way = Way(tmp_path, clock, ONE, OTHER)
    for number in range(2):
        stop = way.course.from_stop(0)
        assert stop is not None and stop[0] == number
        way.course.leave(number, judge(REFUSED, "x"), REFUSED)
        clock.advance(3600)
    assert way.course.from_stop(0) is None


def test_a_host_that_does_not_let_us_in_is_left_alone_for_the_pass(tmp_path: Path, clock: FakeClock) -> None:
    """Law 5: each further sign-in could lock the account."""
    way = Way(tmp_path, clock, ONE)
    way.ends(CERTIFICATE)
    way.course.begin_again()
    clock.advance(DAY)
    assert way.course.from_stop(0) is None and way.course.reason().basis == OURS


def test_a_pass_that_tries_bad_hosts_does_not_try_them_again_and_again(tmp_path: Path, clock: FakeClock) -> None:
    """`flush --all` asks each once, whatever comes in meanwhile; then its probe must be due as for any pass."""
    way = Way(tmp_path, clock, ONE, forgiving=True)
    way.memory.mark_bad("one.example:25", "was down")
    way.ends(REFUSED)
    way.course.begin_again()
    assert way.course.from_stop(0) is None
    clock.advance(60)
    assert way.course.from_stop(0) is not None


def test_greetings_that_say_no_are_counted_anew(tmp_path: Path, clock: FakeClock) -> None:
    """A-003: that one of two exchangers has said so twice is no word of the other."""
    no = Answer(Phase.GREETING, Reply(554, ("5.7.1 no",)))
    with DnsServer(
        {"b.example": ["MX 1 m.b.example", "MX 2 n.b.example"], "m.b.example": ["A 127.0.0.1"], "n.b.example": ["A 127.0.0.1"]}
    ) as dns:
        way = Way(tmp_path, clock, "mx", dns=dns)
        assert way.ends(no, REFUSED).action == DEFERRED
        way.course.begin_again()
        clock.advance(60)
        assert way.ends(no, REFUSED).action == DEFERRED


def test_hosts_that_keep_us_waiting_are_left_for_another_pass(tmp_path: Path, clock: FakeClock) -> None:
    """Law 7: a domain with twenty exchangers that hang does not keep the pass for a day.
    What comes in later begins with those that were left."""
    hung = Answer(Phase.GREETING, trouble=Trouble.TIMEOUT, text="time-out")
    way = Way(tmp_path, clock, *(f"smtp+notls://h{number}.example" for number in range(20)))
    for number in range(4):
        stop = way.course.from_stop(0)
        assert stop is not None and stop[0] == number
        clock.advance(600)
        way.course.leave(number, judge(hung, "x"), hung)
    assert way.course.from_stop(0) is None
    assert (way.course.reason().action, way.course.reason().text) == (DEFERRED, "time-out")
    way.course.begin_again()
    stop = way.course.from_stop(0)
    assert stop is not None and stop[0] == 4


def test_a_host_that_worked_for_hours_did_not_keep_us_waiting(tmp_path: Path, clock: FakeClock) -> None:
    way = Way(tmp_path, clock, ONE, OTHER)
    assert way.course.from_stop(0) is not None
    clock.advance(DAY)
    lost = Answer(Phase.RSET, trouble=Trouble.TIMEOUT, text="time-out")
    way.course.leave(0, judge(lost, "x"), None)
    stop = way.course.from_stop(0)
    assert stop is not None and stop[0] == 1
