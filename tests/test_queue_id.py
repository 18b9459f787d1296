"""Queue ids: they sort by arrival, cannot be mistaken for paths, and a notice's is the same at every try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.errors import EX_NOINPUT
from smartrelay.spool import queue_id
from smartrelay.spool.trouble import NoSuchMessage
from tests.support.queues import many

MOMENTS = st.integers(0, 4_000_000_000_000_000)
ENTROPY = st.binary(min_size=4, max_size=8)


@many
@given(MOMENTS, ENTROPY)
def test_an_id_is_valid_and_tells_its_arrival(moment: int, entropy: bytes) -> None:
    one = queue_id.new(moment, entropy)
    assert len(one) == queue_id.LENGTH == 17
    assert queue_id.is_valid(one) and queue_id.parse(one) == one
    assert queue_id.arrival(one) == moment / 1e6
    assert not set(one) & set("AEIOU")  # nothing rude


@many
@given(MOMENTS, MOMENTS, ENTROPY, ENTROPY)
def test_ids_sort_by_arrival(first: int, second: int, one: bytes, other: bytes) -> None:
    if first < second:
        assert queue_id.new(first, one) < queue_id.new(second, other)


def test_ids_of_one_moment_differ_by_their_entropy() -> None:  # E-011
    assert len({queue_id.new(17, number.to_bytes(6, "big")) for number in range(5000)}) == 5000


def test_a_notice_has_the_same_id_at_every_try_and_another_for_each_number() -> None:  # C-040
    origin = queue_id.new(5, b"1234")
    one = queue_id.derived(1_800_000_000_000_000, origin, 1)
    assert queue_id.is_valid(one)
    assert one == queue_id.derived(1_800_000_000_000_000, origin, 1)
    assert one != queue_id.derived(1_800_000_000_000_000, origin, 2)
    assert one != queue_id.derived(1_800_000_000_000_001, origin, 1)
    assert one != queue_id.derived(1_800_000_000_000_000, queue_id.new(6, b"1234"), 1)


def test_a_clock_before_1970_still_gives_a_valid_id() -> None:
    assert queue_id.is_valid(queue_id.new(-5, b"1234"))


def test_a_person_may_type_an_id_in_either_case() -> None:
    one = queue_id.new(123456, b"1234")
    assert queue_id.parse(f" {one.lower()}\n") == one


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc/passwd",
        "25X0LCH4YW6W9QYP",
        "25X0LCH4YW6W9QYPFF",
        "25X0LCH4YW6W9QYPA",
        "*",
        "25X0LCH4YW6W9QY/F",
        "25X0LCH4YW6W9QYP\x00",
        "25X0LCH4YW6W9QYP\n5",
        "٢" * 17,
        "25X0LCH4YW6W9QYPF,n=5",
        "\ud800" * 17,
    ],
)
def test_what_is_no_id_never_becomes_a_path(text: str) -> None:
    assert not queue_id.is_valid(text)
    with pytest.raises(NoSuchMessage) as caught:
        queue_id.parse(text)
    assert caught.value.exit_code == EX_NOINPUT
    assert str(caught.value).isprintable() and str(caught.value).isascii()
