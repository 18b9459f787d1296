"""The names of hosts: what the memory knows those by that the journal and the rules name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.config import Config, Relay
from smartrelay.mail.status import DEFERRED, Status
from smartrelay.routing.candidates import key_of, keys_of
from smartrelay.routing.relays import NextHop, Routes


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("MX.example.org[192.0.2.1]:25", "mx.example.org:25"),
        ("mx.example.org:25", "mx.example.org:25"),
        ("192.0.2.1[192.0.2.1]:2525", "192.0.2.1:2525"),
        ("2001:db8::1[2001:db8::1]:25", "[2001:db8::1]:25"),
        ("[2001:db8::1]:25", "[2001:db8::1]:25"),
        ("/run/lmtp", "/run/lmtp"),
    ],
)
def test_a_host_in_the_journal_has_the_key_that_the_memory_knows(peer: str, key: str) -> None:
    assert key_of(peer) == key


@given(st.one_of(st.text(), st.from_regex(r"[a-z.]*\[[0-9.:]*\]:[0-9]{0,5000}", fullmatch=True)))
def test_a_damaged_journal_raises_nothing(peer: str) -> None:
    assert isinstance(key_of(peer), str)


def hop(*hosts: str) -> NextHop:
    relay = Relay("work", tuple((host,) for host in hosts), "x: ")
    config = Config("/c.toml", "/s", True, "h.example", "example", 1, 1, 1, relays=(relay,))
    found = Routes.of(config).next_hop("me@a.example", "you@d.example")
    assert found is not None
    return found


def test_mail_waits_for_the_hosts_that_it_was_last_at_and_those_that_its_rule_names() -> None:
    statuses = [None, Status(DEFERRED, "4.4.1", "x"), Status(DEFERRED, "4.4.1", "x", host="mx.d.example[192.0.2.1]:25")]
    assert keys_of(hop("smtps://a.example", "lmtp:///run/lmtp", "mx+smtp://b.example"), statuses) == {
        "a.example:465",
        "/run/lmtp",
        "mx.d.example:25",
    }
    assert keys_of(hop("mx"), [None]) == set()
    assert keys_of(None, statuses) == {"mx.d.example:25"}
