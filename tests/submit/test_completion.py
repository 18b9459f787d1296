"""The laws of `submit.completion`: what a header has when submission has finished with it, and what it never changes."""

import re
from email import policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.mail import header
from smartrelay.mail.address_list import changed
from smartrelay.submit.completion import completed, message_id_of, passed_on
from tests.support.queues import few, many

DATE = b"Date: Thu, 1 Jan 1970 00:00:00 +0000\n"
FROM = b"From: Me <me@example.org>\n"
ID = b"Message-ID: <1@host.example.org>\n"


def of(handed: bytes, domain: str = "example.org") -> bytes:
    """What is stored of a header, below its trace field."""
    date, author = "Thu, 1 Jan 1970 00:00:00 +0000", "Me <me@example.org>"
    return completed(header.fields(handed), date, "<1@host.example.org>", domain, lambda: author)


def test_what_is_missing_is_added_once() -> None:  # D-079 E-010 E-011 E-012
    assert of(b"") == DATE + FROM + ID
    assert of(b"Subject: x\n" + DATE) == b"Subject: x\n" + DATE + FROM + ID
    whole = b"DATE : y\nfrom:a@b\nMessage-Id: <x@y>\n"
    assert of(whole) == whole


@pytest.mark.parametrize("field", [b"Date:\n", b"From: \n", b"From:\n \t\n", b"Message-ID:\n"])
def test_a_field_that_says_nothing_is_as_good_as_missing(field: bytes) -> None:  # E-012
    assert of(field) == DATE + FROM + ID


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"<a.b$c@host>", True),
        (b"\n <a@b>", True),
        (b"<a@b> (comment)", True),
        (b"<a@[127.0.0.1]>", True),
        ("<ä@b>".encode(), True),
        (b"123", False),
        (b"<123>", False),
        (b"a@b", False),
        (b"<@b>", False),
        (b"<a@>", False),
        (b"<a b@c>", False),
        (b"<a@b", False),
    ],
)
def test_a_message_id_that_identifies_nothing_is_replaced(value: bytes, kept: bool) -> None:  # E-011
    field = b"Message-ID: " + value + b"\n"
    assert of(DATE + FROM + field) == DATE + FROM + (field if kept else ID)
    assert bool(message_id_of(header.fields(field))) is kept


def test_what_must_not_leave_is_taken_out_with_its_folds() -> None:  # D-072 D-073 E-030 E-031 E-034
    head = b"Subject: x\nBcc: a@b,\n\tc@d\nbcc : e@f\nX: y\nResent-BCC: g@h\nReturn-Path: <i@j>\nCONTENT-LENGTH: 5\nX: z\n"
    assert of(head) == b"Subject: x\nX: y\nX: z\n" + DATE + FROM + ID  # and no To is made up


@pytest.mark.parametrize(
    ("handed", "stored"),
    [
        (b"To: bob, carl@x.example\n", b"To: bob@example.org, carl@x.example\n"),  # E-015
        (b'From: "(Cron Daemon)" <root>\n', b'From: "(Cron Daemon)" <root@example.org>\n'),  # Debian's cron
        (b"From: root (Cron Daemon)\n", b"From: root@example.org (Cron Daemon)\n"),  # cronie
        (b"To: root\n", b"To: root@example.org\n"),
        (b"Cc: A:b,c;,\n\td (x@y) ,e@f\n", b"Cc: A:b@example.org,c@example.org;,\n\td@example.org (x@y) ,e@f\n"),
        (b'To: "Doe, J" <j@x>, "q r" <"s t">\n', b'To: "Doe, J" <j@x>, "q r" <"s t"@example.org>\n'),
        ("To: Jörg <jörg>, \udcff <b>\n".encode("utf-8", "surrogateescape"),
         "To: Jörg <jörg@example.org>, \udcff <b@example.org>\n".encode("utf-8", "surrogateescape")),
        (b"To: root@localhost, b@LOCALHOST.localdomain\n", b"To: root@example.org, b@example.org\n"),
        (b"Resent-To: bob\nResent-Date: x\nResent-From: y\nResent-Message-ID: <z@z>\n",
         b"Resent-To: bob@example.org\nResent-Date: x\nResent-From: y@example.org\nResent-Message-ID: <z@z>\n"),
    ],
)  # fmt: skip
def test_local_names_are_completed_and_all_else_stays_as_it_was_written(handed: bytes, stored: bytes) -> None:  # E-015
    assert of(handed).replace(DATE, b"").replace(FROM, b"").replace(ID, b"") == stored


@pytest.mark.parametrize(
    "field",
    [
        b"To: joe@b.example, \"a b\"@c (d), F:;\n",  # E-016: whatever others call their mailboxes
        b"To: undisclosed-recipients:;\n",
        b"To:\n",
        b"To: Joe Doe\n",  # no address at all
        b"To: <broken\n",
        b"Subject: root, bob\n",
        b"X-To: root\n",
        b"To: u@localhost.example\n",
        b"Auto-Submitted: auto-generated\n",  # E-017: as it came, and never made up
    ],
)  # fmt: skip
def test_other_fields_are_left_alone(field: bytes) -> None:  # E-016 E-017
    assert of(DATE + FROM + ID + field) == DATE + FROM + ID + field


def test_several_authors_have_one_sender() -> None:  # E-013
    two = b'From: "Doe, J" <j@x>, b@y\n'
    assert of(two + DATE + ID) == two + DATE + ID + b"Sender: Me <me@example.org>\n"
    for head in (two + b"Sender: c@z\n", b'From: "Doe, J" <j@x>\n', b"From: a@b\n", b"From: J, b@y, <\n"):
        assert of(DATE + ID + head) == DATE + ID + head  # E-014: nobody's From is doubted


def test_a_block_of_resent_fields_is_whole_and_the_rest_untouched() -> None:  # D-079 E-033
    own = DATE + b"From: a@b\n" + b"Message-ID: <o@o>\n"
    added = b"Resent-Date: " + DATE[6:] + b"Resent-From: " + FROM[6:] + b"Resent-Message-ID: <resent.1@host.example.org>\n"
    assert of(b"Resent-To: b@x\n" + own) == added + b"Resent-To: b@x\n" + own
    assert of(b"Received: by a\nResent-To: b@x\n" + own) == b"Received: by a\n" + added + b"Resent-To: b@x\n" + own
    whole = b"Resent-From: a@b\nResent-Date: x\nResent-To: b@x\nResent-Message-ID: <y@z>\n"
    assert of(whole + own) == whole + own


def test_what_a_message_must_not_have_twice_it_has_once() -> None:  # E-012 E-065
    """The first that says anything counts: scripts add a From of their own, and servers refuse mail with two."""
    whole = DATE + FROM + ID
    assert of(b"TLS-Required: No\nX: y\ntls-required : no\n" + whole) == b"TLS-Required: No\nX: y\n" + whole
    assert of(b"From:\n" + FROM + DATE + b"from : a@b, c@d\nX: y\n" + ID + b"DATE: x\nMessage-Id: <a@b>\n") == (
        FROM + DATE + b"X: y\n" + ID
    )


def test_mail_that_did_not_begin_here_gets_a_trace_and_no_more() -> None:  # D-036 E-001
    head = b"To: root\nFrom:\nReturn-Path: <a@b>\nbcc: c@d\nResent-To: x\n"
    assert passed_on(header.fields(head)) == head.replace(b"bcc: c@d\n", b"")


LINES = st.sampled_from(
    [
        b"From:", b"To:", b"Cc : ", b"bcc:", b"Date: x", b"Message-ID: <a@b>", b"message-id:", b"Resent-To:", b"Resent-Date: y",
        b"Sender: z", b"X: ", b" ", b"\t", b"\n", b"\n", b"\n", b"a", b"b@c", b",", b"<", b">", b'"', b"(", b")", b";", b"\\",
        b"@localhost", b"\xff", b"\xc3\xa4", b"\0", b"\r", b"g:",
    ]
)  # fmt: skip


def ended(text: bytes) -> bytes:
    """The header that a text begins with."""
    found = header.Boundary()
    found.found(text, eof=True)
    return text[: found.end]


@many
@given(st.lists(LINES, max_size=24).map(b"".join).map(ended))
@example(b"From:a,\n")
def test_any_header_keeps_its_fields_and_has_what_it_must_have(head: bytes) -> None:  # E-012 E-030 E-032
    stored = of(head)
    after = header.fields(stored)
    names = [name for name, _ in after]
    for needed in (b"date", b"from", b"message-id"):
        assert names.count(needed) == 1
    assert not {b"bcc", b"resent-bcc", b"return-path"} & set(names)
    assert of(stored) == stored, "to complete twice is to complete once"
    # what is not an address list or one of the fields that may be added is there as before, in its order
    untouched = [field for name, field in header.fields(head) if name == b"x"]
    assert [field for name, field in after if name == b"x"] == untouched
    # it is still one header: nothing of a field has become a field of its own
    assert ended(stored + b"\nbody") == stored


ATOMS = st.text(st.sampled_from("abz09.-"), min_size=1, max_size=6).filter(lambda text: "" not in text.split("."))
NAMES = st.sampled_from(["", "Joe Doe ", '"Doe, J" ', "(x, y@z) ", "=?utf-8?q?J=C3=B6?= "])
MAILBOXES = st.builds(lambda name, local, domain: (name, local, domain), NAMES, ATOMS, st.sampled_from(["", "@x.example"]))


@few
@given(st.lists(MAILBOXES, min_size=1, max_size=5), st.sampled_from([",", ", ", ",\n\t", " , "]))
def test_any_list_is_completed_address_by_address(mailboxes: list[tuple[str, str, str]], comma: str) -> None:  # E-015
    def written(domain: str) -> str:
        return comma.join(f"{name}<{local}{own or domain}>" for name, local, own in mailboxes)

    stored = changed(f"To: {written('')}\n".encode(), lambda address: address if "@" in address else f"{address}@d.example")
    assert stored == f"To: {written('@d.example')}\n".encode()
    # not by getaddresses(), which since Python 3.13 reads nothing in a list with a comma in a comment
    read = policy.default.header_factory("to", re.sub(r"\n", "", stored.decode()[4:])).addresses
    assert [each.addr_spec for each in read] == [f"{local}{own or '@d.example'}" for _, local, own in mailboxes]
