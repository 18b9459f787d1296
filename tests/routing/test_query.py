"""A question on the wire is what another library reads as that question, and is answered by nothing else; and what an answer
says is what that library reads in it."""

from typing import Any

import dns.message
import dns.name
import pytest
from dns.rcode import Rcode
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.routing.query import Query
from smartrelay.routing.response import Response
from tests.support.queues import many

NAME = dns.name.from_text("mx.Example.test")


def answer_to(query: Query, *, code: int = 0) -> dns.message.Message:
    response = dns.message.make_response(dns.message.from_wire(query.octets))
    response.set_rcode(Rcode(code))
    return response


@pytest.mark.parametrize("kind", ["MX", "A", "AAAA"])
@pytest.mark.parametrize("edns", [True, False])
def test_a_question_is_read_as_what_the_library_would_have_asked(kind: str, edns: bool) -> None:  # B-025
    read = dns.message.from_wire(Query(NAME, kind, edns=edns).octets)
    wanted = dns.message.make_query(NAME, kind, use_edns=0 if edns else None, id=read.id)
    assert read == wanted
    assert (read.edns, read.payload, read.flags) == (wanted.edns, wanted.payload, wanted.flags)


def test_each_question_has_an_id_of_its_own() -> None:
    """RFC 5452 section 9.2: one that can be guessed lets anybody answer."""
    assert len({Query(NAME, "MX", edns=True).octets[:2] for _ in range(64)}) > 50


@pytest.mark.parametrize("name", ["mx.example.test", "MX.EXAMPLE.TEST"])
def test_a_question_is_answered_in_whatever_case_its_name_is_repeated(name: str) -> None:
    query = Query(NAME, "MX", edns=True)
    response = dns.message.make_response(dns.message.make_query(name, "MX", id=int.from_bytes(query.octets[:2])))
    assert query.is_answered_by(response.to_wire())


@pytest.mark.parametrize(
    ("name", "kind", "group"),
    [
        *((name, "MX", "IN") for name in ("mx.example.tesu", "x.example.test", "mx.example", "mx.example.test.test", ".")),
        ("mx.example.test", "A", "IN"),
        ("mx.example.test", "MX", "CH"),
    ],
)
def test_an_answer_to_something_else_is_none(name: str, kind: str, group: str) -> None:  # RFC 5452 section 9.1
    query = Query(NAME, "MX", edns=True)
    number = int.from_bytes(query.octets[:2])
    response = dns.message.make_response(dns.message.make_query(name, kind, group, id=number))
    assert not query.is_answered_by(response.to_wire())


def test_no_other_id_no_question_and_no_piece_of_an_answer_is_one() -> None:
    query = Query(NAME, "MX", edns=True)
    response = answer_to(query)
    whole = response.to_wire()
    assert query.is_answered_by(whole)
    assert not any(query.is_answered_by(whole[:end]) for end in range(12 + len(NAME.to_wire() or b"") + 4))
    assert not query.is_answered_by(query.octets)
    response.id ^= 1
    assert not query.is_answered_by(response.to_wire())
    response.id ^= 1
    response.flags |= 0x2000  # another opcode
    assert not query.is_answered_by(response.to_wire())
    twice = whole[:5] + b"\2" + whole[6:]
    assert not query.is_answered_by(twice)


@pytest.mark.parametrize(("code", "counts"), [(0, False), (1, True), (2, True), (3, False), (4, True), (5, True), (9, False)])
def test_only_who_has_not_understood_the_question_need_not_repeat_it(code: int, counts: bool) -> None:
    query = Query(NAME, "MX", edns=True)
    response = answer_to(query, code=code)
    response.question.clear()
    assert query.is_answered_by(response.to_wire()) is counts


def test_what_stands_behind_answers_is_not_looked_at() -> None:
    """Nor can it spoil them; where there are none, all of the message counts."""
    query = Query(NAME, "MX", edns=True)
    response = answer_to(query)
    behind = dns.message.make_response(dns.message.make_query("x.test", "A")).to_wire()[12:]
    assert Response(response.to_wire() + behind).is_garbage
    response.answer.append(dns.rrset.from_text(NAME, 60, "IN", "MX", "10 A.test.", "5 ."))
    response.additional.append(dns.rrset.from_text("a.test.", 60, "IN", "A", "192.0.2.1"))
    read = Response(response.to_wire(want_shuffle=False) + behind)
    assert not read.is_garbage
    assert list(read.records[("mx.example.test", dns.rdatatype.MX)]) == [(10, "a.test"), (5, ".")]


def test_a_piece_of_a_message_is_garbage() -> None:
    query = Query(NAME, "MX", edns=True)
    response = answer_to(query)
    response.answer.append(dns.rrset.from_text(NAME, 60, "IN", "MX", "10 a.test."))
    whole = response.to_wire()[: -len(query.octets) + 12 + len(NAME.to_digestable()) + 4]  # without its OPT record
    assert not Response(whole).is_garbage
    assert all(Response(whole[:end]).is_garbage for end in range(12, len(whole)))


def whole_answer() -> bytes:
    response = dns.message.make_response(dns.message.make_query(NAME, "MX"))
    for name, kind, *records in (
        (NAME, "CNAME", "b.test."),
        ("b.test.", "MX", "10 mx.b.test.", "20 b.test."),
        ("b.test.", "A", "192.0.2.1", "192.0.2.2"),
        ("b.test.", "AAAA", "2001:db8::1", "::ffff:192.0.2.1"),
        ("b.test.", "TXT", "text"),
    ):
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
    return response.to_wire()


WHOLE = whole_answer()
KINDS = (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.MX, dns.rdatatype.CNAME)


def value(record: Any) -> object:
    match record.rdtype:
        case dns.rdatatype.MX:
            return record.preference, text(record.exchange)
        case dns.rdatatype.CNAME:
            return text(record.target)
    return record.address


def text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


@many
@given(st.lists(st.tuples(st.integers(4, len(WHOLE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 30))
def test_whatever_the_library_reads_without_an_error_is_read_alike(changes: list[tuple[int, int]], cut: int) -> None:
    """And nothing raises, whatever a server sends."""
    octets = bytearray(WHOLE[: len(WHOLE) - cut])
    for at, octet in changes:
        octets[min(at, len(octets) - 1)] = octet
    ours = Response(bytes(octets))
    theirs = dns.message.from_wire(bytes(octets), continue_on_error=True, one_rr_per_rrset=True)
    if theirs.errors:
        return
    assert not ours.is_garbage and ours.code == theirs.rcode()
    wanted: dict[tuple[str, int], dict[object, None]] = {}
    for rrset in theirs.answer:
        if rrset.rdclass == dns.rdataclass.IN and rrset.rdtype in KINDS:
            wanted.setdefault((text(rrset.name), rrset.rdtype), {})[value(rrset[0])] = None
    assert ours.records == wanted


@many
@given(st.binary(min_size=12, max_size=200))
def test_octets_of_any_kind_are_read_or_are_garbage(octets: bytes) -> None:
    response = Response(octets)
    assert response.is_garbage or response.code >= 0
