"""The envelope's line in a spool file: what is written is read back, and nothing else is believed."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.errors import AddressError
from smartrelay.mail.address import canonical
from smartrelay.mail.envelope import FIELD, Envelope, Facts, Recipient, quoted
from smartrelay.mail.stored import BadEnvelope, read
from tests.support.queues import few, many

ONE = "25X0LCH4YW6W9QYPF"


def passes(text: str) -> bool:
    try:
        return bool(canonical(text)) and canonical(text) == text
    except AddressError:
        return False


ADDRESSES = st.one_of(
    st.from_regex(r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}@[a-z]{1,10}(\.[a-z]{2,5}){0,2}", fullmatch=True),
    st.builds(
        lambda local, domain: '"' + local.replace("\\", "\\\\").replace('"', '\\"') + f'"@{domain}',
        st.text(st.characters(blacklist_categories=["C", "Z"]) | st.just(" "), max_size=20),
        st.sampled_from(["x.example", "[192.0.2.1]", "[IPv6:::1]", "bücher.example"]),
    ),
    st.just("root"),
    st.text(st.characters(whitelist_categories=["L"]), min_size=1, max_size=9).map(lambda text: f"{text}@x.example"),
).filter(passes)
WORDS = st.from_regex(r"[!-~]{0,30}", fullmatch=True)
COUNTS = st.integers(0, 10**12 - 1)
FACTS = st.builds(Facts, COUNTS, COUNTS, COUNTS, st.integers(0, 1), st.integers(0, 1), st.integers(0, 1))
ENVELOPES = st.builds(
    Envelope,
    reverse_path=st.just("") | ADDRESSES,
    recipients=st.lists(st.builds(Recipient, ADDRESSES, WORDS, WORDS), min_size=1, max_size=3),
    arrived=st.floats(0, 5e9),
    uid=st.integers(0, 2**32 - 1),
    message_id=WORDS,
    ret=st.sampled_from(["", "FULL", "HDRS"]),
    envid=WORDS,
    notice_of=st.just(("", 0)) | st.tuples(st.just(ONE), st.integers(1, 99)),
    facts=FACTS,
)


def line_of(envelope: Envelope) -> bytes:
    return envelope.head() + envelope.facts.json() + b"\n"


def members(envelope: Envelope) -> list[object]:
    facts = envelope.facts
    return [
        envelope.reverse_path,
        [(each.address, each.notify, each.orcpt) for each in envelope.recipients],
        round(envelope.arrived, 6),
        [envelope.uid, envelope.message_id, envelope.ret, envelope.envid, envelope.notice_of],
        [getattr(facts, name) for name in Facts.__slots__],
    ]


@few
@given(ENVELOPES)
def test_what_is_written_is_one_header_field_of_ascii_and_is_read_back(envelope: Envelope) -> None:
    """So a Maildir reader sees one more field, whatever an address holds."""
    line = line_of(envelope)
    assert line.isascii() and line.startswith(FIELD) and line.count(b"\n") == 1
    assert line.rstrip(b"\n").decode().isprintable()
    assert members(read(line)) == members(envelope)
    assert members(read(line.removesuffix(b"\n"))) == members(envelope)


@few
@given(FACTS)
@example(Facts())
@example(Facts(10**12 - 1, 10**12 - 1, 10**12 - 1, 1, 1, 1))
def test_facts_have_a_fixed_width(facts: Facts) -> None:
    """They are written back over a place that was kept for them."""
    assert len(facts.json()) == Facts.WIDTH


@many
@given(st.text())
@example("\ud800")
@example('"\\\x7f\x00\U0001f600')
def test_any_text_becomes_an_ascii_json_string(text: str) -> None:
    written = quoted(text)
    assert written.isascii() and written.isprintable()
    assert json.loads(written) == text


GOOD: dict[str, object] = {
    "v": 1,
    "arrived": 1.5,
    "uid": 0,
    "sender": "",
    "recipients": ["a@x"],
    "message_id": "<m>",
    "stored": 1,
    "octets": 1,
    "longest": 1,
    "eight_bit": 0,
    "nul": 0,
    "bare_cr": 0,
}


def hostile(**changes: object) -> bytes:
    return FIELD + json.dumps({**GOOD, **changes}).encode() + b"\n"


def test_a_hand_made_envelope_is_read() -> None:
    assert read(hostile()).recipients[0].address == "a@x"
    assert read(hostile(recipients=[{"address": "a@x", "notify": "NEVER", "orcpt": ""}])).recipients[0].notify == "NEVER"
    assert read(hostile(more={"unknown": [1]})).reverse_path == ""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"Subject: x\n",
        FIELD,
        FIELD + b"\n",
        FIELD + b"{",
        FIELD + b"[]",
        FIELD + b"null",
        FIELD + b'"text"',
        FIELD + b"\xff\xfe",
        FIELD + b"[" * 100_000,
        FIELD + b"9" * 5000,
        FIELD.lower() + b"{}",
        hostile(v=2),
        hostile(v="1"),
        hostile(recipients=[]),
        hostile(recipients=None),
        hostile(recipients="joe"),
        hostile(recipients={"a@x": 1}),
        hostile(recipients=[[]]),
        hostile(recipients=[{"address": "a@x"}]),
        hostile(recipients=[{"address": 1, "notify": "", "orcpt": ""}]),
        hostile(recipients=["r@b.example>\r\nRCPT TO:<x@y"]),
        hostile(recipients=["r@b.example> NOTIFY=NEVER"]),
        hostile(recipients=[{"address": "a@x", "notify": "NEVER\r\nDATA", "orcpt": ""}]),
        hostile(recipients=[{"address": "a@x", "notify": "NEVER ORCPT=x", "orcpt": ""}]),
        hostile(recipients=[{"address": "a@x", "notify": None, "orcpt": ""}]),
        hostile(recipients=["a@x\ud800"]),
        hostile(sender="a@x\n"),
        hostile(sender=["a@x"]),
        hostile(sender=1),
        hostile(arrived="now"),
        hostile(arrived=float("nan")),
        hostile(arrived=float("inf")),
        hostile(arrived=10**400),
        hostile(arrived=-1),
        hostile(arrived=1e17),
        hostile(uid=float("inf")),
        hostile(uid="root"),
        hostile(stored=-1),
        hostile(stored=10**400),
        hostile(stored=1.5),
        hostile(octets="1"),
        hostile(octets=None),
        hostile(ret="FULL SIZE=1"),
        hostile(ret="FULL\r\n"),
        hostile(notice_of=[]),
        hostile(notice_of=["x"]),
        hostile(notice_of=["x", float("inf")]),
        hostile(notice_of=5),
    ],
    ids=lambda line: repr(line[-40:]),
)
def test_a_hostile_line_is_refused_with_a_reason(line: bytes) -> None:  # C-013 A-045
    with pytest.raises(BadEnvelope) as caught:
        read(line)
    assert str(caught.value)


def test_text_that_only_logs_see_is_made_printable() -> None:
    envelope = read(hostile(message_id="<\x1b[31m>\r\nx", envid="a\nb\u2028"))
    assert (envelope.message_id, envelope.envid) == ("<?[31m> x", "a b")


@few
@given(st.dictionaries(st.sampled_from([*list(GOOD), "ret", "envid", "notice_of"]), st.deferred(lambda: JSON), max_size=4))
def test_whatever_stands_there_nothing_but_bad_envelope_is_raised(changes: dict[str, object]) -> None:  # C-013
    try:
        envelope = read(hostile(**changes))
    except BadEnvelope:
        return
    assert envelope.recipients and 0 <= envelope.arrived < 1e11 and min(members(envelope)[4]) >= 0  # type: ignore[call-overload]


JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a@x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@few
@given(ENVELOPES, st.data())
def test_a_line_cut_short_is_no_envelope(envelope: Envelope, data: st.DataObject) -> None:  # C-013
    line = line_of(envelope).rstrip(b"\n")
    with pytest.raises(BadEnvelope):
        read(line[: data.draw(st.integers(0, len(line) - 1))])
