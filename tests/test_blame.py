"""The table of blame (law 5), whole: every phase with every kind of reply and every trouble.

Only a plain 5yz to MAIL, RCPT, DATA or the message itself may fail a recipient, and what cannot be made fit to be sent.
"""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail.status import ASKED, DEFERRED, DELIVERED, FAILED, OURS
from smartrelay.relay.blame import LONGEST_TEXT, Judgement, Scope, judge
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from tests.support.queues import few

HOST = "h.example[192.0.2.1]:25"
TEXT_SENT = (Phase.END, Phase.CHUNK)
TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, *TEXT_SENT)
BEFORE_MAIL = (Phase.LOOKUP, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS, Phase.TLS, Phase.AUTH)


def replied(phase: Phase, code: int, *lines: str) -> Judgement:
    return judge(Answer(phase, Reply(code, lines or ("text",))), HOST)


def troubled(phase: Phase, trouble: Trouble, text: str = "5.6.0 why") -> Judgement:
    return judge(Answer(phase, trouble=trouble, text=text), HOST)


CODES = (
    200, 250, 251, 252, 257, 299, 300, 334, 354, 399, 400, 421, 450, 451, 452, 454, 459, 499,
    500, 501, 503, 504, 521, 530, 534, 535, 550, 551, 552, 553, 554, 556, 571, 577, 599,
)  # fmt: skip


@pytest.mark.parametrize("phase", Phase)
def test_only_a_plain_no_in_the_transaction_fails(phase: Phase) -> None:  # A-021 A-026 A-029 A-050 A-051 A-053 A-059
    for code in CODES:
        status = replied(phase, code).status
        fails = phase in TRANSACTION and code // 100 == 5 and code != 530
        delivers = phase in (Phase.RCPT, *TEXT_SENT) and code // 100 == 2
        assert status.action == (FAILED if fails else DELIVERED if delivers else DEFERRED), code
        assert status.dsn[0] == {FAILED: "5", DELIVERED: "2", DEFERRED: "4"}[status.action], code
        assert (status.code, status.host, status.phase, status.doubt) == (code, HOST, phase, False)


@pytest.mark.parametrize(("phase", "trouble"), list(product(Phase, Trouble)))
def test_no_trouble_but_unfit_content_fails(phase: Phase, trouble: Trouble) -> None:  # A-006 A-022 A-025 A-030
    status = troubled(phase, trouble).status
    assert status.action == (FAILED if trouble is Trouble.CONTENT else DEFERRED)
    assert status.dsn[0] == ("5" if trouble is Trouble.CONTENT else "4")
    assert (status.code, status.host, status.phase) == (0, HOST, phase)


@pytest.mark.parametrize(("phase", "trouble"), list(product(Phase, Trouble)))
def test_there_is_doubt_only_behind_the_final_dot(phase: Phase, trouble: Trouble) -> None:
    status = troubled(phase, trouble).status
    lost = (Trouble.LOST, Trouble.TIMEOUT, Trouble.PROTOCOL, Trouble.STOPPED)
    assert status.doubt == (phase in TEXT_SENT and trouble in lost)
    assert ("may be delivered twice" in status.text) == status.doubt


def test_doubt_is_this_messages_affair_and_no_other_host_is_tried() -> None:
    for trouble in (Trouble.LOST, Trouble.TIMEOUT, Trouble.PROTOCOL):
        assert troubled(Phase.END, trouble).scope is Scope.MESSAGE


def test_a_reply_of_no_kind_or_none_at_all_defers_the_message() -> None:
    """Law 2: a missing or unknown result is a deferral."""
    for phase in Phase:
        for judgement in (judge(Answer(phase), HOST), replied(phase, 199), replied(phase, 600)):
            assert judgement.status.action == DEFERRED and judgement.status.dsn[0] == "4"


@pytest.mark.parametrize("phase", BEFORE_MAIL)
def test_before_mail_nothing_is_the_messages_fault(phase: Phase) -> None:  # A-003 A-005 A-006 A-011
    for trouble in set(Trouble) - {Trouble.STOPPED, Trouble.CONTENT, Trouble.UNTOUCHED, Trouble.NO_ROOM}:
        assert troubled(phase, trouble).scope in (Scope.HOST, Scope.ACCOUNT)
    if phase is not Phase.TLS:  # the hand-shake has no replies
        for code in (421, 450, 500, 521, 554):
            assert replied(phase, code).scope in (Scope.HOST, Scope.ACCOUNT)


def test_421_is_the_hosts_whatever_it_answers() -> None:
    for phase in Phase:
        judgement = replied(phase, 421)
        assert (judgement.scope, judgement.status.action) == (Scope.HOST, DEFERRED)


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.AUTH, 535),
        (Phase.AUTH, 534),
        (Phase.AUTH, 503),
        (Phase.STARTTLS, 554),
        (Phase.MAIL, 530),
        (Phase.RCPT, 530),
        (Phase.DATA, 530),
        (Phase.END, 530),
    ],
)
def test_what_only_the_operator_can_put_right_holds_the_mail(phase: Phase, code: int) -> None:
    judgement = replied(phase, code, "5.7.0 no")
    assert (judgement.scope, judgement.status.action, judgement.status.dsn) == (Scope.ACCOUNT, DEFERRED, "4.7.0")


def test_the_accounts_troubles() -> None:  # A-155 A-158
    account = {Trouble.NO_TLS, Trouble.CERTIFICATE, Trouble.NO_MECHANISM, Trouble.CONFIGURATION}
    for trouble in Trouble:
        assert (troubled(Phase.TLS, trouble).scope is Scope.ACCOUNT) == (trouble in account)


def test_a_temporary_no_to_sign_in_is_the_hosts() -> None:
    assert replied(Phase.AUTH, 454).scope is Scope.HOST
    assert replied(Phase.STARTTLS, 454).scope is Scope.HOST


def test_any_other_policy_word_concerns_this_message_alone() -> None:
    assert replied(Phase.MAIL, 550, "5.7.1 no").scope is Scope.MESSAGE
    assert replied(Phase.RCPT, 550, "5.7.1 no").scope is Scope.RECIPIENT
    assert replied(Phase.END, 554, "5.7.1 spam").scope is Scope.MESSAGE


def test_a_recipients_answer_is_the_recipients() -> None:
    for code in (450, 452, 550, 551, 552):
        assert replied(Phase.RCPT, code).scope is Scope.RECIPIENT


@pytest.mark.parametrize(
    ("code", "line", "dsn"),
    [
        (550, "5.1.1 no", "5.1.1"),
        (550, "4.2.2 no", "5.0.0"),
        (450, "no", "4.0.0"),
        (450, "5.1.1 no", "4.0.0"),
        (550, "5.1.1x", "5.0.0"),
    ],
)
def test_the_status_code_is_the_servers_where_it_agrees_with_the_reply(code: int, line: str, dsn: str) -> None:
    assert replied(Phase.RCPT, code, line).status.dsn == dsn


def test_content_brings_its_own_status() -> None:  # A-091 A-093
    status = troubled(Phase.MAIL, Trouble.CONTENT, "5.3.4 the message is too large").status
    assert (status.dsn, status.text) == ("5.3.4", "the message is too large")


@few
@given(st.sampled_from(list(Phase)), st.integers(200, 599), st.lists(st.text(max_size=300), max_size=9), st.text())
def test_texts_are_printable_and_bounded(phase: Phase, code: int, lines: list[str], text: str) -> None:
    judgements = [judge(Answer(phase, Reply(code, tuple(lines))), HOST), judge(Answer(phase, text=text), HOST)]
    judgements += [troubled(phase, trouble, f"5.6.0 {text}") for trouble in Trouble]
    for judgement in judgements:
        found = judgement.status.text
        assert found.isascii() and found.isprintable() and len(found) <= LONGEST_TEXT


# What a deferral rests on (law 11): only who was asked may say the last word

ACCOUNT_TROUBLES = {Trouble.NO_TLS, Trouble.CERTIFICATE, Trouble.NO_MECHANISM, Trouble.CONFIGURATION}
OUR_DOING = {Trouble.UNTOUCHED, Trouble.STOPPED, Trouble.NO_ROOM}


@pytest.mark.parametrize("phase", Phase)
def test_a_fault_of_our_account_neither_ages_mail_nor_ends_it(phase: Phase) -> None:
    """Law 5: whatever is the account's, at a relay, rests on ourselves and is a deferral."""
    for judgement in [replied(phase, code) for code in CODES] + [troubled(phase, trouble) for trouble in Trouble]:
        if judgement.scope is Scope.ACCOUNT:
            assert (judgement.status.action, judgement.status.basis) == (DEFERRED, OURS)


@pytest.mark.parametrize(("phase", "trouble"), list(product(Phase, Trouble)))
def test_a_trouble_rests_on_who_was_asked_unless_it_is_ours(phase: Phase, trouble: Trouble) -> None:
    ours = trouble in ACCOUNT_TROUBLES | OUR_DOING
    assert troubled(phase, trouble).status.basis == (OURS if ours else ASKED)


@pytest.mark.parametrize("phase", Phase)
def test_a_reply_rests_on_who_gave_it_and_no_answer_on_nobody(phase: Phase) -> None:
    """Law 2: a text that cannot be read, or a bug, must not become a bounce in five days either."""
    for code in CODES:
        judgement = replied(phase, code)
        assert judgement.status.basis == (OURS if judgement.scope is Scope.ACCOUNT else ASKED)
    assert judge(Answer(phase), HOST).status.basis == OURS
    assert judge(Answer(phase, text="the stored text cannot be read"), HOST).status.basis == OURS


@pytest.mark.parametrize("phase", Phase)
def test_an_exchanger_of_the_recipients_domain_has_no_account_of_ours(phase: Phase) -> None:
    """Law 5: what would be our account's fault at a relay is the host's there, and 530 a no like any other."""
    for answer in [Answer(phase, Reply(code, ("no",))) for code in CODES] + [
        Answer(phase, trouble=trouble, text="5.6.0 why") for trouble in Trouble
    ]:
        judgement = judge(answer, HOST, exchanger=True)
        assert judgement.scope is not Scope.ACCOUNT
        assert judgement.status.basis == (OURS if answer.trouble in OUR_DOING else ASKED)
    for transaction_phase in TRANSACTION:
        assert judge(Answer(transaction_phase, Reply(530, ("no",))), HOST, exchanger=True).status.action == FAILED


#                   2yz         4yz        5yz        421        530        lost       timeout    certificate
TABLE = {
    Phase.LOOKUP: ("host       host       host       host       host       host       host       account"),
    Phase.CONNECT: ("host       host       host       host       host       host       host       account"),
    Phase.GREETING: ("host       host       host       host       host       host       host       account"),
    Phase.EHLO: ("host       host       host       host       host       host       host       account"),
    Phase.STARTTLS: ("message    host       account    host       account    host       host       account"),
    Phase.TLS: ("message    message    message    host       message    host       host       account"),
    Phase.AUTH: ("message    host       account    host       account    host       host       account"),
    Phase.RSET: ("message    host       host       host       host       message    host       account"),
    Phase.MAIL: ("message    message    MESSAGE    host       account    message    host       account"),
    Phase.RCPT: ("DELIVERED  recipient  RECIPIENT  host       account    message    host       account"),
    Phase.DATA: ("message    message    MESSAGE    host       account    message    host       account"),
    Phase.BODY: ("message    message    message    host       message    message    host       account"),
    Phase.END: ("DELIVERED  message    MESSAGE    host       account    message    message    account"),
    Phase.CHUNK: ("DELIVERED  message    MESSAGE    host       account    message    message    account"),
    Phase.QUIT: ("message    message    message    host       message    message    host       account"),
}
"""Whose fault it is; in capitals where that is final."""


@pytest.mark.parametrize("phase", Phase)
def test_the_table_row_by_row(phase: Phase) -> None:
    """Law 5, as one looks it up. A 2yz or 3yz where none ends anything is a deferral of the message."""
    found = [replied(phase, code) for code in (250, 450, 550, 421, 530)]
    found += [troubled(phase, trouble) for trouble in (Trouble.LOST, Trouble.TIMEOUT, Trouble.CERTIFICATE)]
    words = []
    for judgement in found:
        word = judgement.scope.value if judgement.scope else "delivered"
        words.append(word.upper() if judgement.status.final else word)
    assert words == TABLE[phase].split()
