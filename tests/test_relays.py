"""Relay URLs and relay rules: which hosts a recipient's mail is handed to, and no password in any sentence."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.config import Auth, Config, Relay
from smartrelay.errors import EX_CONFIG, ConfigError
from smartrelay.routing.relays import IMPLICIT, NO_TLS, OPPORTUNISTIC, STARTTLS, Endpoint, Routes, parse_url
from tests.support.queues import many

WHERE = "/etc/smartrelay.toml: [[relay]] work: "


def config(*relays: Relay) -> Config:
    return Config("/c.toml", "/s", True, "h.example", "example", 1, 1, 1, relays=relays)


def relay(*hosts: str, name: str = "work", auth: Auth | None = None, sender: str = "*", recipient: str = "*") -> Relay:
    return Relay(name, tuple((host,) for host in hosts), WHERE, (sender,), (recipient,), auth)


def refused(*relays: Relay) -> str:
    with pytest.raises(ConfigError) as caught:
        Routes.of(config(*relays))
    assert caught.value.exit_code == EX_CONFIG
    assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__)
    return str(caught.value)


# URLs


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://h.example", "h.example", 25, OPPORTUNISTIC),
        ("smtp+tls://h.example", "h.example", 587, STARTTLS),
        ("smtp+notls://h.example", "h.example", 25, NO_TLS),
        ("smtps://h.example", "h.example", 465, IMPLICIT),
        ("smtps://h.example/", "h.example", 465, IMPLICIT),
        ("smtps://h.example:4650", "h.example", 4650, IMPLICIT),
        ("smtp://192.0.2.1:2525", "192.0.2.1", 2525, OPPORTUNISTIC),
        ("smtp://[2001:db8::1]", "2001:db8::1", 25, OPPORTUNISTIC),
        ("smtp://[2001:db8::1]:26", "2001:db8::1", 26, OPPORTUNISTIC),
        ("smtp://box", "box", 25, OPPORTUNISTIC),
        ("smtp://H.Example", "h.example", 25, OPPORTUNISTIC),
    ],
)
def test_a_relay_url_says_host_port_and_security(url: str, host: str, port: int, tls: str) -> None:
    assert parse_url(url, WHERE) == (Endpoint(host, port, tls), None)


def test_an_endpoint_is_written_as_others_write_it() -> None:
    assert str(Endpoint("h.example", 25, NO_TLS)) == "h.example:25"
    assert str(Endpoint("2001:db8::1", 25, NO_TLS)) == "[2001:db8::1]:25"


def test_user_and_password_of_a_url_are_unquoted() -> None:
    _, auth = parse_url("smtps://me%40x.org:p%40ss%3A%2F%C3%A4@h.example", WHERE)
    assert auth == Auth("me@x.org", "p@ss:/ä", literal=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h.example",
        "http://h.example",
        "lmtp:relative",
        "smtp:h.example",
        "SMTP+TLS://",
        "smtp://",
        "smtp://:25",
        "smtp://h.example:0",
        "smtp://h.example:65536",
        "smtp://h.example:-1",
        "smtp://h.example:smtp",
        "smtp://h.example/path",
        "smtp://h.example?x=y",
        "smtp://h.example#x",
        "smtp://h example",
        "smtp://h\x00.example",
        "smtp://<h>",
        "smtp://[2001:db8::1",
        "smtp://[hunter2]",
        "smtps://me@h.example",
        "smtps://:hunter2@h.example",
        "smtps://me:@h.example",
        "smtps://me:hunter2",  # the host was forgotten
        "smtps://me:hunter2@",
        "smtps://me:hunter2@h.example:hunter2",
        "smtps://me:hunter2/x@h.example",
        "smtps://me:hunter2#x@h.example",
        "smtps://me:hunter2?x@h.example",
        "smtps://me:hunter2@h.example/x",
        "smtps://me:hunter2\u2100@h.example",  # NFKC makes it `a/c`
        "smtps://me:hunter2@[::1",
        "smtps://me:hunter2%00@h.example",
        "smtps://me%0Ax:hunter2@h.example",
        "smtps://me:hunter2%FF%0D@h.example",
        "mx:hunter2",
    ],
)
def test_what_is_no_relay_url_is_refused_without_repeating_it(url: str) -> None:
    sentence = refused(relay(url))
    assert sentence.startswith(WHERE) and "  " not in sentence and "hunter2" not in sentence and sentence.isprintable()


@many
@example("lmtp:///")
@example("lmtp:///a\0")
@example("lmtp:///run/lmtp.socket")
@given(st.text(st.sampled_from("smtp+tls:/@[]%:#?0aé\u2100\x00 "), max_size=20))
def test_any_url_is_understood_or_refused(text: str) -> None:
    for url in (text, f"smtps://{text}", f"smtps://me:hunter2{text}"):
        try:
            endpoint, auth = parse_url(url, WHERE)
        except ConfigError as error:
            assert "hunter2" not in str(error)
            continue
        if endpoint.path:
            assert endpoint.lmtp and endpoint.tls == "none" and auth is None
            assert endpoint.path.startswith("/") and endpoint.path != "/" and endpoint.path.isprintable()
        else:
            assert endpoint.host and 0 < endpoint.port < 65536
        assert auth is None or (auth.user and auth.secret.isprintable())


# Secrets and security


@pytest.mark.parametrize(("url", "meant"), [("smtp+tsl://u:pw@h.example", "smtp+tls"), ("stmps://h.example", "smtps")])
def test_a_scheme_that_is_mistyped_is_guessed_and_no_password_repeated(url: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"did you mean {re.escape(meant)}://\?") as caught:
        parse_url(url, "f: ")
    assert "pw" not in str(caught.value)


def test_a_secret_never_goes_where_starttls_can_be_stripped() -> None:
    auth = Auth("me", "env:X")
    assert "strips STARTTLS" in refused(relay("smtp://h.example", auth=auth))
    assert "in clear" in refused(relay("lmtp://h.example:24", auth=auth))
    assert "hunter2" not in refused(relay("smtp://me:hunter2@h.example"))
    assert "strips STARTTLS" in refused(relay("smtps://h.example", "smtp://b.example", auth=auth))


def test_a_user_in_a_url_stands_alone() -> None:
    assert "stands alone" in refused(relay("smtps://me:hunter2@a.example", "smtps://b.example"))
    assert "stands alone" in refused(relay("smtps://me:hunter2@a.example", auth=Auth("me", "env:X")))


def test_secrets_are_read_when_they_are_wanted_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "hunter2")
    work = relay("smtps://h.example", auth=Auth("me", "env:THE_SECRET"))
    (hop,) = Routes.of(config(work)).hops
    assert (hop.secret, hop.auth) == ("hunter2", Auth("me", ""))
    assert "hunter2" not in repr(hop)
    monkeypatch.delenv("THE_SECRET")
    assert Routes.of(config(work), secrets=False).hops[0].secret == ""
    assert WHERE in refused(work)
    (forced,) = Routes.of(config(relay("smtps://me:hunter2@h.example"))).hops
    assert (forced.secret, forced.auth and forced.auth.secret) == ("hunter2", "")


# Rules


def routes() -> Routes:
    return Routes.of(
        config(
            relay("smtps://a.example", name="a", sender="*@example.org", recipient="*@special.example"),
            relay("smtps://b.example", name="b", sender="*@example.org"),
            relay("smtps://c.example", name="c", recipient="[ab]?@*.example"),
        )
    )


@pytest.mark.parametrize(
    ("sender", "recipient", "name"),
    [
        ("me@example.org", "x@special.example", "a"),
        ("Me@Example.ORG", "X@SPECIAL.Example", "a"),
        ("me@example.org", "x@y.example", "b"),
        ("me@other.org", "a1@y.example", "c"),
        ("me@other.org", "c1@y.example", None),
        ("", "b2@y.example", "c"),
        ("", "x@special.example", None),
        ("", "me@example.org", "b"),  # the null sender: as the recipient's own mail goes
    ],
)
def test_the_first_rule_that_matches_wins(sender: str, recipient: str, name: str | None) -> None:
    hop = routes().next_hop(sender, recipient)
    assert (hop and hop.name) == name


def test_each_rule_has_one_next_hop_that_can_be_a_key() -> None:
    rules = Routes.of(config(relay("smtps://a.example"), relay("smtps://b.example", name="other")))
    assert len(set(rules.hops)) == 2
    assert rules.next_hop("a@x", "b@y") is rules.next_hop("c@x", "d@y") is rules.hops[0]


def test_no_rule_is_no_next_hop() -> None:
    assert Routes.of(config()).next_hop("a@x", "b@y") is None
