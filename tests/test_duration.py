"""Spans of time as people write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay import duration
from tests.support.queues import few


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("5d", 432000),
        ("1w", 604800),
        ("1h30m", 5400),
        (" 1D ", 86400),
        ("007s", 7),
    ],
)
def test_a_span_of_time_in_seconds(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "1.5h", "-5m", "5y", "five minutes", "5mm", "1h 30m", "\x1b5m", "5m\x00"]
)
def test_anything_else_says_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="30s, 5m, 2h or 5d") as caught:
        duration.parse(text)
    assert str(caught.value).isprintable()


@few
@given(st.integers(0, 10**7))
def test_the_short_form_is_the_largest_unit_and_never_more_than_there_is(seconds: int) -> None:
    text = duration.short(seconds)
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
    assert duration.parse(text) <= seconds < duration.parse(text) + unit
    assert len(text) <= 5 or text.endswith("d")


@few
@given(st.integers(1, 10**9))
@example(90)
@example(86400)
def test_the_exact_form_is_read_back_as_what_it_was(seconds: int) -> None:
    text = duration.exact(seconds)
    assert duration.parse(text) == seconds
    assert text[:-1].isdecimal()


def test_a_span_that_went_the_wrong_way_is_none() -> None:
    assert duration.short(-5) == "0s"
    assert duration.short(59.9) == "59s"
