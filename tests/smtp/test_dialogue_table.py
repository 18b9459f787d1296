"""The states of a session: what each reply does, and that whatever is not written there ends it."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.smtp.dialogue import TRANSITIONS, BadReply, Dialogue, Phase, Reply, State
from tests.support.queues import many

IN_TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END, Phase.CHUNK, Phase.RSET)
OUTSIDE = tuple(phase for phase in Phase if phase not in IN_TRANSACTION)

# What RFC 5321 section 4.1.4, RFC 2920 section 3.1 and RFC 3030 section 2 allow, as "state phase: digit>state".
LAWFUL = """
READY     MAIL  2>SENDER 4>READY 5>READY
SENDER    RCPT  2>RECIPIENT 4>SENDER 5>SENDER
RECIPIENT RCPT  2>RECIPIENT 4>RECIPIENT 5>RECIPIENT
RECIPIENT DATA  3>TEXT 4>FAILED 5>FAILED
SENDER    DATA  3>TEXT 4>FAILED 5>FAILED
READY     RCPT  4>READY 5>READY
READY     DATA  3>TEXT 4>READY 5>READY
TEXT      END   2>READY 4>READY 5>READY
RECIPIENT CHUNK 2>READY 4>FAILED 5>FAILED
SENDER    CHUNK 4>FAILED 5>FAILED
READY     CHUNK 4>FAILED 5>FAILED
READY     RSET  2>READY
SENDER    RSET  2>READY
RECIPIENT RSET  2>READY
FAILED    RSET  2>READY
"""
EXPECTED = {
    (State[state], Phase[phase], int(step[0])): State[step[2:]]
    for state, phase, *steps in (line.split() for line in LAWFUL.split("\n") if line)
    for step in steps
}


def at(state: State, *phases: Phase) -> Dialogue:
    dialogue = Dialogue()
    dialogue.state = state
    dialogue.sent(phases)
    return dialogue


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_a_reply_does_what_is_written_or_ends_the_session(state: State) -> None:
    """By its first digit alone, whatever the other two."""  # A-015 A-021 A-026
    for phase, kind in product(IN_TRANSACTION, (2, 3, 4, 5)):
        expected = EXPECTED.get((state, phase, kind), State.OVER)
        for code in (kind * 100, kind * 100 + 54, kind * 100 + 99):
            dialogue = at(state, phase)
            answer = dialogue.received(Reply(code, ("x",)))
            assert (dialogue.state, answer.phase, answer.kind) == (expected, phase, kind), (phase, code)


def test_the_table_says_no_more_than_the_standards() -> None:
    assert TRANSITIONS == EXPECTED


@pytest.mark.parametrize("phase", IN_TRANSACTION, ids=lambda phase: phase.name)
def test_421_ends_the_session_anywhere_and_nothing_brings_it_back(phase: Phase) -> None:  # A-029 A-063
    for state in State:
        dialogue = at(state, phase)
        assert dialogue.received(Reply(421, ("bye",))).reply == Reply(421, ("bye",))
        assert dialogue.state is State.OVER
    for code in (250, 354, 421, 451, 550):
        dialogue = at(State.OVER, phase)
        dialogue.received(Reply(code, ("x",)))
        assert dialogue.state is State.OVER


def test_what_opens_and_ends_a_session_moves_no_transaction() -> None:
    for state, phase, code in product(State, OUTSIDE, (220, 334, 421, 454, 554)):
        dialogue = at(state, phase)
        dialogue.received(Reply(code, ("x",)))
        assert dialogue.state is state


def test_a_transaction_that_leads_nowhere_needs_a_reset_and_nothing_else_does() -> None:  # A-015 A-063
    needing = {state for state in State if at(state).needs_reset}
    assert needing >= {State.SENDER, State.RECIPIENT, State.FAILED}
    assert not needing & {State.READY, State.TEXT}


def test_after_each_way_a_transaction_can_end_mail_is_lawful_again_with_a_reset_where_it_is_needed() -> None:  # A-015 A-052
    for (_, phase, _), state in TRANSITIONS.items():
        if phase in (Phase.END, Phase.CHUNK, Phase.RSET, Phase.DATA, Phase.MAIL) and state is not State.TEXT:
            dialogue = at(state)
            if dialogue.needs_reset:
                dialogue.sent([Phase.RSET])
                dialogue.received(Reply(250, ()))
            assert dialogue.state is State.READY


def test_a_reply_that_nobody_asked_for_is_none() -> None:
    dialogue = Dialogue()
    assert dialogue.quiet and dialogue.next_phase is None
    with pytest.raises(BadReply):
        dialogue.received(Reply(250, ("x",)))


def test_replies_belong_to_commands_in_their_order() -> None:
    dialogue = Dialogue()
    dialogue.sent([Phase.MAIL, Phase.RCPT])
    dialogue.sent([Phase.RCPT, Phase.DATA])
    seen = []
    while not dialogue.quiet:
        expected = dialogue.next_phase
        answer = dialogue.received(Reply(354 if expected is Phase.DATA else 250, ("x",)))
        assert answer.phase is expected
        seen.append(answer.phase)
    assert seen == [Phase.MAIL, Phase.RCPT, Phase.RCPT, Phase.DATA]
    assert dialogue.state is State.TEXT


def test_with_lmtp_each_recipient_has_a_reply_and_the_last_ends_the_transaction() -> None:
    """RFC 2033 section 4.2: mixed as they are, the session stays fit for the next message."""
    for kinds in product((2, 4, 5), repeat=3):
        dialogue = at(State.TEXT, *[Phase.END] * 3)
        for kind in kinds:
            assert dialogue.state is State.TEXT
            assert dialogue.received(Reply(kind * 100 + 50, ("x",))).kind == kind
        assert dialogue.state is State.READY and not dialogue.needs_reset


@many
@given(st.lists(st.tuples(st.sampled_from(IN_TRANSACTION), st.sampled_from([250, 354, 421, 451, 550])), max_size=12))
def test_the_text_is_only_ever_asked_for_by_a_3yz_to_data(steps: list[tuple[Phase, int]]) -> None:
    dialogue = Dialogue()
    for phase, code in steps:
        before = dialogue.state
        dialogue.sent([phase])
        dialogue.received(Reply(code, ("x",)))
        if dialogue.state is State.TEXT:
            assert (phase, code) == (Phase.DATA, 354) and before in (State.READY, State.SENDER, State.RECIPIENT)
        if before is State.OVER:
            assert dialogue.state is State.OVER
