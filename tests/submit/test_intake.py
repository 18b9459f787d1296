"""Who brought a message, as its Received field tells it (RFC 5321 section 4.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.submit.intake import Caller
from tests.support.queues import many


@pytest.mark.parametrize(
    ("hello", "literal", "expected"),
    [  # E-020
        ("c.example", "", "from c.example (userid 7)"),
        ("c.example", "[127.0.0.1]", "from c.example ([127.0.0.1]) (userid 7)"),
        ("[IPv6:::1]", "[IPv6:::1]", "from [IPv6:::1] ([IPv6:::1]) (userid 7)"),
        ("", "", "from localhost (userid 7)"),  # a pipe, where nobody has to say hello
        ("x)(y;\\", "", "from x??y?? (userid 7)"),  # E-025
        ("bücher.example", "", "from b?cher.example (userid 7)"),  # E-026
    ],
)
def test_the_from_clause_names_the_caller(hello: str, literal: str, expected: str) -> None:
    assert Caller(7, literal).trace(hello) == expected


@many
@given(st.text(max_size=600))
def test_nothing_that_a_caller_says_leaves_its_place(hello: str) -> None:  # E-025 E-026
    """Neither a comment, nor another clause, nor a date: one word of ASCII, of which there may be 255 octets."""
    clause = Caller(7, "[127.0.0.1]").trace(hello)
    word = clause.removeprefix("from ").removesuffix(" ([127.0.0.1]) (userid 7)")
    assert word and len(word) <= 255 and word.isascii() and word.isprintable()
    assert not set(word) & set(' ();,<>"\\@')
