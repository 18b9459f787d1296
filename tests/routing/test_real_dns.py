"""A real DNS says the same as the server that the other tests command: NSD, with Unbound in front of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from smartrelay.routing.mx import MXCalculator
from smartrelay.routing.resolver import ALIAS, ANSWER, NO_DATA, NO_SUCH_NAME, TEMPORARY, DNSResolver
from smartrelay.routing.trouble import (
    CanonicalNameChainTooLong,
    LookupFailed,
    NoSuchDomain,
    NoUsableExchanger,
    NullMX,
    RoutingError,
)
from tests.support.dns_server import DnsServer
from tests.support.real_dns import Nsd, RealDns

MANY = [f"MX {number} mail-exchanger-number-{number:03}.example" for number in range(1, 201)]
ZONE = {
    "d.example": ["MX 20 b.example", "MX 10 a.example", "A 127.0.0.99"],
    "a.example": ["A 127.0.0.2", "A 127.0.0.3", "AAAA ::2"],
    "b.example": ["AAAA ::3"],
    "implicit.example": ["A 127.0.0.4"],
    "none.example": ["TXT x"],
    "null.example": ["MX 0 .", "A 127.0.0.5"],
    "alias.example": ["CNAME alias2.example"],
    "alias2.example": ["CNAME alias3.example"],
    "alias3.example": ["CNAME d.example"],
    "long.example": ["CNAME alias.example"],
    "dangling.example": ["CNAME gone.example"],
    "aliased.example": ["MX 5 alias.example"],
    "dead.example": ["MX 5 gone.example", "MX 6 none.example"],
    "many.example": MANY,
    **{record.split()[2]: ["A 127.0.0.6"] for record in MANY},
}


@pytest.fixture(scope="module", params=["ours", "real"])
def dns(request: pytest.FixtureRequest) -> Iterator[DnsServer | RealDns]:
    """Both, with the same zone; one law holds for both."""
    with DnsServer(ZONE) if request.param == "ours" else RealDns(ZONE) as server:
        yield server


@pytest.fixture
def resolver(dns: DnsServer | RealDns) -> DNSResolver:
    """A resolver that asks it."""
    return DNSResolver([dns.where])


@pytest.mark.parametrize(
    ("domain", "exchangers"),
    [
        ("d.example", [("a.example", 10, {"127.0.0.2", "127.0.0.3", "::2"}), ("b.example", 20, {"::3"})]),  # B-002 B-004
        ("D.EXAMPLE.", [("a.example", 10, {"127.0.0.2", "127.0.0.3", "::2"}), ("b.example", 20, {"::3"})]),  # B-026
        ("implicit.example", [("implicit.example", 0, {"127.0.0.4"})]),  # B-007
        ("alias.example", [("a.example", 10, {"127.0.0.2", "127.0.0.3", "::2"}), ("b.example", 20, {"::3"})]),  # B-012
        ("aliased.example", [("alias.example", 5, {"127.0.0.99"})]),  # B-013
    ],
)
def test_the_exchangers_of_a_domain(resolver: DNSResolver, domain: str, exchangers: list[Any]) -> None:
    found = MXCalculator(resolver).exchangers(domain)
    assert [(each.host, each.preference, set(each.addresses)) for each in found] == exchangers


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ("gone.example", NoSuchDomain),  # B-008
        ("dangling.example", NoSuchDomain),  # B-012
        ("null.example", NullMX),  # B-015
        ("none.example", NoUsableExchanger),  # B-011
        ("dead.example", NoUsableExchanger),  # B-011
        ("long.example", CanonicalNameChainTooLong),  # B-012
    ],
)
def test_why_a_domain_has_none(resolver: DNSResolver, domain: str, kind: type[RoutingError]) -> None:
    with pytest.raises(RoutingError) as caught:
        MXCalculator(resolver).exchangers(domain)
    assert type(caught.value) is kind


def test_a_long_list_comes_over_tcp(resolver: DNSResolver) -> None:  # B-025
    assert len(resolver.ask("many.example", "MX").records) == 200
    assert [each.preference for each in MXCalculator(resolver).exchangers("many.example")] == list(range(1, 21))


@pytest.mark.parametrize(
    ("name", "kind", "outcome"),
    [
        ("d.example", "MX", ANSWER),
        ("d.example", "AAAA", NO_DATA),
        ("gone.example", "A", NO_SUCH_NAME),
        ("alias.example", "MX", ALIAS),
        ("dangling.example", "MX", ALIAS),
        ("example", "MX", NO_DATA),
    ],
)
def test_the_outcome_of_a_question(resolver: DNSResolver, name: str, kind: str, outcome: str) -> None:
    assert resolver.ask(name, kind).outcome == outcome


def test_a_real_chain_of_aliases_stands_in_one_answer(resolver: DNSResolver) -> None:
    names = [reply.question.name for reply in resolver.ask("alias.example", "MX").further]
    assert names == ["alias2.example", "alias3.example", "d.example"]


def test_a_server_that_has_the_zone_can_be_asked_itself() -> None:
    with Nsd(ZONE) as nsd:
        assert MXCalculator(DNSResolver([nsd.where])).exchangers("alias.example")[0].host == "a.example"


def test_what_unbound_cannot_find_out_waits() -> None:  # B-009 B-012
    """Aliases in a circle are its SERVFAIL, and so is a server behind it that is gone."""
    with RealDns({"loop.example": ["CNAME pool.example"], "pool.example": ["CNAME loop.example"]}, impatient=True) as dns:
        with pytest.raises(LookupFailed, match="SERVFAIL"):
            MXCalculator(DNSResolver([dns.where])).exchangers("loop.example")
        dns.nsd.stop()
        assert DNSResolver([dns.where]).ask("new.example", "MX").outcome == TEMPORARY
