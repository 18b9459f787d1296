"""The laws of the From policy and of `mail.header_edit`: who stands for whom, and that nothing else of a message changes."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay import values
from smartrelay.errors import AddressError
from smartrelay.mail import header
from smartrelay.mail.envelope import Envelope, Facts, Recipient
from smartrelay.mail.header import Field
from smartrelay.mail.header_edit import edited
from smartrelay.relay.from_policy import FromPolicy, user_id
from smartrelay.spool.queue import Queue
from tests.support.queues import many, new_spool, pieces

USERS = {"root": 0, "joe": 1000, "www": 33}


def policy(rules: object, original: str = "none") -> FromPolicy:
    return FromPolicy(values.from_rules(rules), original, USERS.get)


# Which rule


@pytest.mark.parametrize(
    ("rules", "address", "uid", "new"),
    [
        ("me@x.example", "root@host.a.example", 0, "me@x.example"),
        ({"*": "me@x.example"}, "root@host.a.example", 0, "me@x.example"),
        ({"joe": "j@x.example"}, "whoever@a.example", 1000, "j@x.example"),
        ({"joe": "j@x.example"}, "joe@a.example", 0, "joe@a.example"),
        ({"nobody-here": "j@x.example"}, "a@a.example", 1, "a@a.example"),
        ({"*@*.a.example": "@a.example"}, "Root@Host.A.example", 0, "Root@a.example"),
        ({"*@*.a.example": "@a.example"}, '"a b"@h.a.example', 0, '"a b"@a.example'),
        ({"*@*.a.example": "@a.example"}, "root@b.example", 0, "root@b.example"),
        ({"*@a.example": "", "*": "me@x.example"}, "joe@a.example", 0, "joe@a.example"),
        ({"*@a.example": "", "*": "me@x.example"}, "joe@b.example", 0, "me@x.example"),
        ({"root@*": "alerts@x.example", "www": "shop@x.example", "*": "@x.example"}, "root@h", 33, "alerts@x.example"),
        ({"root@*": "alerts@x.example", "www": "shop@x.example", "*": "@x.example"}, "a@h", 33, "shop@x.example"),
        ({"root@*": "alerts@x.example", "www": "shop@x.example", "*": "@x.example"}, "a@h", 1, "a@x.example"),
        ({"*": "@x.example"}, "l" * 995 + "@a.b", 1, "l" * 995 + "@a.b"),  # what cannot be written stays
    ],
)
def test_the_first_rule_that_is_for_an_address_counts(rules: object, address: str, uid: int, new: str) -> None:
    assert policy(rules).address(address, uid) == new


def test_users_are_those_of_this_host() -> None:
    assert user_id("root") == 0
    assert user_id("no-such-user-here") is None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (3, "table"),
        ("me", "address"),
        ("@", "domain"),
        ({"joe": "@a b"}, "domain"),
        ({"joe": 3}, "string"),
        ({"www*": "a@b.example"}, "glob"),
        ({"": "a@b.example"}, "glob"),
        ({"a b": "a@b.example"}, "glob"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(value: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        values.from_rules(value)


def test_no_rules_are_no_policy() -> None:
    assert values.from_rules("") == values.from_rules({}) == ()


# What changes


def sent(handed: bytes, rules: object, original: str = "none", *, reverse_path: str = "root@h.a.example") -> tuple[str, bytes]:
    envelope = Envelope(reverse_path, [Recipient("you@b.example")], 1.0, 0, facts=facts(handed))
    outgoing = policy(rules, original).outgoing(envelope, lambda: iter([handed]))
    text = b"".join(outgoing.text())
    assert_facts(outgoing.facts, text, facts(handed))
    return outgoing.reverse_path, text


def facts(text: bytes) -> Facts:
    """As the spool's writer finds them."""
    lines = text.split(b"\n")
    octets = len(text) + text.count(b"\n") + (2 if text and not text.endswith(b"\n") else 0)
    return Facts(
        len(text), octets, max(map(len, lines)), int(not text.isascii()), int(b"\0" in text), int(b"\r" in text)
    )  # fmt: skip


def assert_facts(found: Facts, text: bytes, before: Facts) -> None:
    """SIZE and BDAT say how many octets come: to the octet."""
    true = facts(text)
    assert (found.stored, found.octets) == (true.stored, true.octets)
    # what might be there was looked for in the whole: it is never said of a text that it is plainer than it is
    assert found.longest == max(before.longest, true.longest)
    assert (found.eight_bit, found.nul, found.bare_cr) >= (true.eight_bit, true.nul, true.bare_cr)


BODY = b"\nFrom: root@h.a.example\n"


@pytest.mark.parametrize(
    ("field", "new"),
    [
        (b"From: root@h.a.example\n", b"From: me@x.example\n"),
        (b"From: root@h.a.example (Cron Daemon)\n", b"From: me@x.example (Cron Daemon)\n"),
        (b'FROM : "Doe, J" <j@h>\n', b'FROM : "Doe, J" <me@x.example>\n'),
        (b"From: =?utf-8?q?J=C3=B6?=\n <j@h>\n", b"From: =?utf-8?q?J=C3=B6?=\n <me@x.example>\n"),
        ("From: Jörg <j@h>\n".encode(), "From: Jörg <me@x.example>\n".encode()),
        (b"From: J\xf6rg <j@h>\n", b"From: J\xf6rg <me@x.example>\n"),
        (b"From: a@h, B <b@h>\nSender: c@h\n", b"From: me@x.example, B <me@x.example>\nSender: me@x.example\n"),
        (b"Resent-From: a@h\nFrom: b@h\n", b"Resent-From: me@x.example\nFrom: me@x.example\n"),
        (b"From: Joe Doe\n", b"From: me@x.example\n"),  # no address: what stands for any
        (b"From:\n", b"From:\n"),
        (b"To: root@h.a.example\nX-From: a@b\n", b"To: root@h.a.example\nX-From: a@b\n"),
    ],
)
def test_only_the_addresses_of_the_author_change(field: bytes, new: bytes) -> None:
    head = b"Received: by h\nSubject: x\n"
    assert sent(head + field + BODY, "me@x.example") == ("me@x.example", head + new + BODY)


def test_each_address_is_looked_up_by_itself() -> None:
    rules = {"root@*": "alerts@x.example", "*@h.a.example": "@a.example"}
    head = b"From: Shop <shop@h.a.example>, far@b.example\n\n"
    assert sent(head, rules) == ("alerts@x.example", b"From: Shop <shop@a.example>, far@b.example\n\n")


@pytest.mark.parametrize(
    ("original", "handed", "new"),
    [
        ("none", b"From: A <a@h>\n", b"From: A <me@x.example>\n"),
        ("reply-to", b"From: A <a@h>\nTo: b\n", b"From: A <me@x.example>\nReply-To: A <a@h>\nTo: b\n"),
        ("reply-to", b"reply-to: c@d\nFrom: a@h\n", b"reply-to: c@d\nFrom: me@x.example\n"),
        ("reply-to", b"From: Joe Doe\n", b"From: me@x.example\n"),  # where would an answer go?
        # it would come back from every server without SMTPUTF8
        ("reply-to", "From: J <jö@h>\n".encode(), b"From: J <me@x.example>\n"),
        ("reply-to", "From: Jö <jo@h>\n".encode(), "From: Jö <me@x.example>\nReply-To: Jö <jo@h>\n".encode()),
        ("reply-to", b"From: me@x.example\n", b"From: me@x.example\n"),
        ("x-original-from", b"From: A\n <a@h>\n", b"From: A\n <me@x.example>\nX-Original-From: A\n <a@h>\n"),
        ("x-original-from", b"From: Joe Doe\n", b"From: me@x.example\nX-Original-From: Joe Doe\n"),
    ],
)
def test_the_first_author_is_kept_where_one_wants_it(original: str, handed: bytes, new: bytes) -> None:
    assert sent(handed + BODY, "me@x.example", original)[1] == new + BODY


def test_mail_with_the_null_sender_is_untouched() -> None:
    handed = b"From: Mail Delivery System <MAILER-DAEMON@h.a.example>\n\nreport\n"
    assert sent(handed, "me@x.example", reverse_path="") == ("", handed)


SIGNS = st.sampled_from(
    ["a", "@", ".", '"', "\\", "(", ")", "<", ">", ",", ";", ":", " ", "\n ", "[", "]", "é", "=?utf-8?q?x?=", "\0", "\r",
     "\x80", "a@b", "<a@b>", '"q, r" <x@y>', "g: a@b, c@d;", "<@h,@i:a@b>"]
)  # fmt: skip
FIELDS = st.sampled_from(["From", "Sender", "Resent-From", "To", "Reply-To", "X"])


@many
@given(st.lists(st.tuples(FIELDS, st.lists(SIGNS, max_size=10).map("".join)), max_size=5))
def test_whatever_a_user_writes_each_of_the_authors_is_the_policys(written: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in written).encode("utf-8", "surrogateescape") + b"\nbody\n"
    reverse_path, new = sent(text, "new@x.example")
    assert reverse_path == "new@x.example"
    (before, rest), (after, same) = (parts(each) for each in (text, new))
    assert (rest, len(before)) == (same, len(after))
    for (name, old), (new_name, field) in zip(before, after, strict=True):
        assert name == new_name
        if name not in (b"from", b"sender", b"resent-from"):
            assert field == old
            continue
        try:
            count = len(header.addresses(header.value(old)))
        except AddressError:
            count = 1
        assert header.addresses(header.value(field)) == ["new@x.example"] * count


def parts(text: bytes) -> tuple[list[Field], bytes]:
    """The fields of a text, and its body."""
    boundary = header.Boundary()
    boundary.found(text, eof=True)
    return header.fields(text[: boundary.end]), text[boundary.end :]


# Editing a header


LINES = st.sampled_from([b"From: a@b\n", b"To: c\n", b" folded\n", b"\n", b"no field\n", b"x" * 50, b"\xc3\xa4", b"\n"])


@many
@given(st.lists(LINES, max_size=10).map(b"".join), st.lists(st.integers(0, 1 << 16), max_size=5), st.integers(0, 3))
def test_any_text_keeps_its_body_however_it_is_cut(text: bytes, cuts: list[int], kind: int) -> None:
    """The body is what it was; the facts are true; and what changes nothing changes nothing."""

    def edit(found: list[Field]) -> list[bytes]:
        lines = [field for _, field in found]
        return [lines, lines[1:], [*lines, b"New: field\n"], [line.replace(b"a@b", b"longer@b.example") for line in lines]][
            kind
        ]

    def blocks() -> Iterator[bytes]:
        return pieces(text, cuts)

    new, found = edited(blocks, facts(text), edit)
    once, twice = b"".join(new()), b"".join(new())
    assert once == twice
    assert_facts(found, once, facts(text))
    if kind == 0 and not (text and not text.endswith(b"\n")):
        assert once == text


def test_a_header_beyond_all_bounds_is_left_alone() -> None:
    """Submission takes none that is longer than 1 MiB; a file that has one is not held in memory."""
    text = b"X: y\n" * (1 << 19)
    taken = []

    def blocks() -> Iterator[bytes]:
        for at in range(0, len(text), 1 << 16):
            taken.append(at)
            yield text[at : at + (1 << 16)]

    new, _ = edited(blocks, facts(text), lambda found: [])
    assert len(taken) < len(text) >> 16
    assert b"".join(new()) == text


def test_a_text_of_the_spool_can_be_edited(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Blocks come as the spool gives them: one of the beginning, then large ones."""
    from tests.support.queues import put

    queue = Queue(new_spool(str(tmp_path_factory.mktemp("spool"))))
    body = b"x" * 70 + b"\n"
    one = put(queue, text=b"From: a@b\n\n" + body * 5000)
    queue.take_in()
    message = queue.set_relaying(one)
    new, found = edited(message.text, message.envelope.facts, lambda fields: [b"From: c@d\n", b"X: y\n"])
    assert b"".join(new()) == b"From: c@d\nX: y\n\n" + body * 5000
    assert found.octets == message.envelope.facts.octets + 6
