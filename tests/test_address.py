"""The laws of `mail.address` and `mail.address_list`: what an envelope may hold, and how people may write it."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.errors import AddressError
from smartrelay.mail import header
from smartrelay.mail.address import canonical, domain_of, identity, qualified, split
from smartrelay.mail.address_list import Parser, changed
from tests.support.queues import few, many


def refused(text: str) -> str:
    with pytest.raises(AddressError) as caught:
        header.addresses(text)
    message = str(caught.value)
    assert message.isprintable() and message.isascii()
    return message


# One address


@pytest.mark.parametrize(
    "address",
    [
        "joe@example.org",
        "John.DOE@B.Example",  # the case of the local part is the mailbox's own affair
        "a+b/c=d!e#f$g%h&i'j*k-l?m^n_o`p{q|r}s~t@example.org",
        '"john doe"@b.example',
        '"a\\"b\\\\c"@b.example',
        '"<>,@:;"@b.example',
        "u@[192.0.2.1]",
        "u@[IPv6:2001:db8::1]",
        "u@under_score.example",
        "root",  # D-070: bare names are for `qualified` to complete
        "jörg@bücher.example",
        "x" * 65 + "@example.org",  # longer than promised may be tried
    ],
)
def test_a_canonical_address_stays_as_it_is(address: str) -> None:
    assert canonical(address) == address
    assert header.addresses(address) == [address]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("joe@example.org.", "joe@example.org"),  # B-026: no trailing dot on the wire
        ('"a\\b"@x.org', '"ab"@x.org'),  # a quoted pair that needs no backslash
        ("a..b@x.org", '"a..b"@x.org'),  # not a dot-string, so it goes out quoted
        (".a@x.org", '".a"@x.org'),
        ("a.@x.org", '"a."@x.org'),
    ],
)
def test_what_means_the_same_is_written_the_one_way(written: str, meant: str) -> None:
    assert canonical(written) == meant


@pytest.mark.parametrize(
    "address",
    [
        "r@b.example>\r\nRCPT TO:<x@y",
        "r@b.example\r\n",
        "r\0@b.example",
        "r@b.exam\0ple",
        '"r\n"@b.example',
        '"r\x7f"@b.example',
        "r\x85@b.example",  # C1 controls are controls too
        "r\u2028@b.example",
        "r\udcff@b.example",  # octets that are no UTF-8
        "r@b\udcff.example",
        "r@b.example> NOTIFY=NEVER",
        "<a@b> SIZE=1",
        "a b@d",
        "a\u00a0b@d",
        "@example.org",
        "joe@",
        "joe@.",
        "joe@a..b",
        "joe@a b",
        "joe@-;rm",
        "a@b@c.example",
        "joe@[",
        "joe@[]",
        "joe@[1.2.3.4",
        "joe@[1.2.3.4] x",
        "joe@[1\\]2]",
        '"joe@x.org',
        '"joe"x@x.org',
        '"joe" @x.org',
        "a@" + "d" * 256,
        "a" * 990 + "@example.org",
        "",
    ],
)
def test_no_mailbox_can_have_these(address: str) -> None:  # A-045 A-046
    with pytest.raises(AddressError):
        canonical(address)


@pytest.mark.parametrize(
    ("text", "found"),
    [  # G-007: what smtplib's quoteaddr makes something else of
        ("@r:u@d", ["u@d"]),  # a source route is stripped
        ('us"er@d', None),
        ("mailer daemon", None),
        ("a;b@c", None),
        ("foo@x,bar@y", ["foo@x", "bar@y"]),
        ("a(b)c@d", None),
        ("a b@d", None),
        ("a@b> SIZE=1", None),
        ("<a@b> NOTIFY=NEVER", None),
    ],
)
def test_an_address_is_never_silently_another(text: str, found: list[str] | None) -> None:
    if found is None:
        refused(text)
    else:
        assert header.addresses(text) == found


def test_local_part_and_domain_come_apart_at_the_right_at() -> None:
    assert split('"a@b"@c.example') == ('"a@b"', "c.example")
    assert split('"a@b"') == ('"a@b"', None)
    assert split("a") == ("a", None)
    assert domain_of('"x@Y"@B.Example') == "b.example"
    assert domain_of("") == domain_of("root") == ""


def test_only_an_address_without_domain_is_completed() -> None:  # B-027 D-070
    assert qualified("root", "example.org") == "root@example.org"
    assert qualified('"a@b"', "example.org") == '"a@b"@example.org'
    assert qualified("u@squeaky.sales", "example.org") == "u@squeaky.sales"
    assert qualified("root", "") == "root"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a@X.example", "a@x.EXAMPLE", True),
        ("A@x.example", "a@x.example", False),
        ("joe", "JOE", False),
        ('"a@B"', '"a@b"', False),
        ('"a@B"@x.example', '"a@B"@X.example', True),
    ],
)
def test_one_recipient_is_one_whatever_the_case_of_the_domain(one: str, other: str, same: bool) -> None:  # D-074
    assert (identity(one) == identity(other)) == same


def test_the_domain_of_a_loop_back_interface_is_as_good_as_none() -> None:  # E-015
    """root@localhost means another mailbox wherever it is read."""
    assert qualified("root@localhost", "example.org") == "root@example.org"
    assert qualified('"a b"@LocalHost.LocalDomain', "example.org") == '"a b"@example.org'
    assert qualified("root@localhost", "") == "root@localhost"
    assert qualified("root@localhost.example.org", "example.org") == "root@localhost.example.org"


def test_a_completed_address_is_an_address() -> None:
    """What enqueueing accepts, the pass must be able to read back."""
    for local, domain in (("x" * 995, "example.org"), ("root", "not a domain"), ("root", "(none)")):
        with pytest.raises(AddressError):
            qualified(local, domain)


# Lists, as headers and command lines write them


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (  # D-070
            '"Doe, J" <j@x>, grp: a@x, b@x;, =?utf-8?q?J=C3=B6?= <k@x> (c, d@no)',
            ["j@x", "a@x", "b@x", "k@x"],
        ),
        ("undisclosed-recipients:;", []),
        ("Undisclosed recipients: ;", []),
        ("a@x,b@y", ["a@x", "b@y"]),  # D-075
        ("Name <c@z>", ["c@z"]),
        ('"q,r"@x', ['"q,r"@x']),
        ("a@x, , b@x,", ["a@x", "b@x"]),
        ("", []),
        (" , ", []),
        ("root, bob", ["root", "bob"]),
        ("<@a,@b:u@d.example>", ["u@d.example"]),
        ("@a,@b:u@d.example", ["u@d.example"]),
        ("Joe<@a,@b:u@d.example>, x@y", ["u@d.example", "x@y"]),
        ("joe @ example . org", ["joe@example.org"]),  # RFC 5322 section 4.4
        ("(c)joe(c)@(c)example.org(c)", ["joe@example.org"]),
        ("(a (nested \\) ) comment) joe@x", ["joe@x"]),
        ('"john doe" @ x', ['"john doe"@x']),
        ('Joe "the <man>" Doe <joe@x>', ["joe@x"]),
        ("joe@[192.0.2.1], b@x", ["joe@[192.0.2.1]", "b@x"]),
        ("joe@[IPv6:2001:db8::1]", ["joe@[IPv6:2001:db8::1]"]),
        ("A: a@x; , B: <b@x>, c@x;", ["a@x", "b@x", "c@x"]),
        ("joe@x\t", ["joe@x"]),
        ("a@x,\t b@x", ["a@x", "b@x"]),
        ("Jörg <jörg@x>", ["jörg@x"]),
    ],
)
def test_a_list_of_addresses_is_read_as_it_is_meant(text: str, found: list[str]) -> None:
    assert header.addresses(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a@x; b@x",
        "A: B: a@x;;",
        "a@x: b@x;",
        "<a@x> <b@x>",
        "<a@x",
        "a@x>",
        "<<a@x>>",
        "<a@x>b",
        "(open a@x",
        '"open <a@x>',
        "joe@[1.2.3.4",
        "Joe Doe",
        "a@x b@x",
        "<a:b@x>",
        'a@x "b c"@',  # D-077: nothing is silently dropped
        "\\",
    ],
)
def test_a_broken_list_is_refused_as_a_whole(text: str) -> None:  # D-077 D-102
    refused(text)


TOKENS = st.sampled_from(
    [*'abz09.@,;:<>()[]\\" \t', "\r\n ", "\0", "\x7f", "\x85", "ö", "\u2028", "\udc80", "a@x", '"q q"', "@r:", "[1.2]", "g:"]
)
TEXTS = st.lists(TOKENS, max_size=14).map("".join) | st.text(max_size=30)


def outside_quotes(address: str) -> str:
    local, domain = split(address)
    return (domain or "") if local.startswith('"') else address


def assert_safe(address: str) -> None:
    assert address.isprintable()
    assert not set(outside_quotes(address)) & set(" <>\t")
    assert canonical(address) == address


@many
@given(TEXTS)
@example("a." * 499 + ".@x")
def test_what_passes_is_safe_in_a_command_and_stays_what_it_is(text: str) -> None:  # A-045 A-046
    try:
        found = canonical(text)
    except AddressError:
        return
    assert_safe(found)


@many
@given(TEXTS)
def test_every_address_of_a_list_is_safe(text: str) -> None:  # A-045 A-046
    try:
        found = header.addresses(text)
    except AddressError:
        return
    for address in found:
        assert_safe(address)


@many
@given(st.lists(st.sampled_from([*"abz09.@, \t>)]", "\r\n ", "\0", "ö", "a@x", "@"]), max_size=12).map("".join))
def test_the_plain_and_the_full_parser_agree(text: str) -> None:
    """`addresses` takes a short cut for plain lists: it must not show."""

    def outcome(parse: Callable[[], list[str]]) -> object:
        try:
            return parse()
        except AddressError:
            return AddressError

    assert outcome(lambda: header.addresses(text)) == outcome(lambda: Parser(text).mailboxes())


@many
@given(TEXTS)
def test_what_changes_in_a_field_is_the_addresses_and_nothing_else(text: str) -> None:
    """Where nothing is to change the field is as it was, to the octet; where all is, it has the new addresses, and the rest."""
    try:
        found = Parser(text).mailboxes()
    except AddressError:
        return
    field = f"To:{text}".encode("utf-8", "surrogateescape")
    assert changed(field, lambda address: address) == field
    after = changed(field, lambda address: "new@x.example")
    assert Parser(after[3:].decode("utf-8", "surrogateescape")).mailboxes() == ["new@x.example"] * len(found)


@few
@given(
    st.text(st.characters(blacklist_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Co", "Cn"]), min_size=1, max_size=20),
    st.sampled_from(["x.example", "[192.0.2.1]"]),
)
def test_any_local_part_goes_through_quoted(local: str, domain: str) -> None:
    quoted = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert header.addresses(f"{quoted}@{domain}") == [f"{quoted}@{domain}"]
