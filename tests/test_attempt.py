"""Attempts at a next hop in whole passes: the manager, its workers and the ledger on a real spool, with real servers.

What may be handed to another host, what is tried once, and in which order verdicts are written (laws 2, 3, 5 and 10).
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.config import Auth, Limits, Relay
from smartrelay.relay.manager import SmartHostESMTPRelayingManager, SmartHostSMTPRelayingManager
from smartrelay.relay.pace import Pace
from smartrelay.spool.journal import Journal
from tests.support.certificates import Certificates
from tests.support.place import Place, recipients, rule
from tests.support.process import free_port
from tests.support.queues import files, put
from tests.support.smtp_script import TIMEOUT
from tests.support.smtp_server import Action, Gate, Pieces, ScriptedServer, Session

Start = Callable[..., ScriptedServer]


# What came of each


def test_what_was_accepted_is_gone(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    for number in range(3):
        put(place.queue, [f"r{number}@x", "all@x"])
    report = place.run(server)
    assert (report.sent, report.deferred, report.bounced, report.messages, report.waiting) == (6, 0, 0, 3, 0)
    assert files(place.spool) == {}
    assert len(server.accepted) == 3


def test_each_recipient_has_its_own_verdict_and_only_who_waits_is_tried_again(
    place: Place, smtp_server: Start
) -> None:
    server = smtp_server(replies={"RCPT TO:<no@": b"550 5.1.1 no", "RCPT TO:<later@": b"450 4.2.1 later"})
    one = put(place.queue, ["yes@x", "no@x", "later@x"])
    report = place.run(server)
    assert (report.sent, report.deferred, report.bounced, report.notices) == (2, 1, 1, 1)  # the notice is sent too
    assert place.standing() == {"yes@x": "2.0.0", "no@x": "5.1.1", "later@x": "4.2.1"}
    (entry,) = place.left()
    assert (entry.queue_id, entry.history.waiting, entry.history.attempts) == (one, [2], 1)
    assert 1.0 <= entry.due - entry.history.events[0]["time"] <= 66 + 1  # C-003: the first step, a tenth more at most
    server.replies.clear()
    assert place.run(server).sent == 0
    report = place.run(server, everything=True)
    assert (report.sent, report.messages) == (1, 1)
    assert [t.recipients for t in server.accepted] == [[b"<yes@x>"], [b"<s@example.org>"], [b"<later@x>"]]
    assert files(place.spool) == {}


def test_a_failure_is_told_to_the_sender_by_a_notice_that_nobody_is_told_about(
    place: Place, smtp_server: Start
) -> None:  # C-020 C-021
    server = smtp_server(replies={"RCPT": b"550 5.1.1 no"})
    put(place.queue, ["a@x", "b@x"])
    report = place.run(server)
    assert (report.bounced, report.notices, report.messages) == (3, 1, 2)  # C-039: one notice, and it fails too
    assert files(place.spool) == {}
    assert [line for line in place.lines if "double bounce" in line]
    assert [line for line in server.commands if line.startswith(b"MAIL")][-1].startswith(b"MAIL FROM:<>")


def test_nobody_is_told_who_did_not_want_to_be(place: Place, smtp_server: Start) -> None:  # C-062
    server = smtp_server(replies={"RCPT": b"550 5.1.1 no"})
    put(place.queue, ["a@x"], notify="NEVER")
    report = place.run(server)
    assert (report.bounced, report.notices) == (1, 0) and files(place.spool) == {}


def test_more_recipients_than_a_transaction_takes_go_in_several(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    put(place.queue, [f"r{number}@x" for number in range(250)])
    assert place.run(server).sent == 250
    assert [len(transaction.recipients) for transaction in server.accepted] == [100, 100, 50]
    assert files(place.spool) == {}


def test_a_message_for_several_next_hops_leaves_when_the_last_has_it(place: Place, smtp_server: Start) -> None:
    one, other = smtp_server(), smtp_server(replies={"RCPT": b"450 4.2.0 later"})
    put(place.queue, ["a@one", "b@other", "c@one", "d@nowhere"])
    rules = (rule(one, name="one", recipient="*@one"), rule(other, name="other", recipient="*@other"))
    report = place.run(*rules)
    assert (report.sent, report.deferred) == (2, 2)
    assert place.standing() == {"a@one": "2.0.0", "b@other": "4.2.0", "c@one": "2.0.0", "d@nowhere": "4.3.5"}
    other.replies.clear()
    assert place.run(*rules, rule(other, name="rest"), everything=True).sent == 2
    assert files(place.spool) == {}
    assert (recipients(one), recipients(other)) == (["a@one", "c@one"], ["b@other", "d@nowhere"])


# Hosts


@pytest.mark.parametrize("greeting", [b"554 no mail here", b"421 busy", b"450 later", b"521 never", b"SSH-2.0-x", Action.CLOSE])
def test_the_next_host_is_tried_when_one_refuses_the_session(
    place: Place, smtp_server: Start, greeting: bytes | Action
) -> None:
    """A-003 A-004 A-005 A-006: a host's no is not the message's."""
    bad, good = smtp_server(replies={"GREETING": greeting}), smtp_server()
    put(place.queue)
    assert place.run(rule(free_port(), bad, good)).sent == 1
    assert bad.transactions == [] and len(good.accepted) == 1


def test_a_single_smart_host_that_refuses_everybody_bounces_nothing(place: Place, smtp_server: Start) -> None:
    server = smtp_server(replies={"GREETING": b"554 5.7.1 you are on a list"})
    for _ in range(20):
        put(place.queue)
    report = place.run(server)
    assert (report.deferred, report.bounced, report.sent) == (20, 0, 0)
    assert len(server.sessions) <= 5  # C-010: the mail does not each ask for itself
    assert set(place.standing().values()) == {"4.7.1"}


def test_a_closed_port_costs_one_try_and_defers_all(place: Place, smtp_server: Start) -> None:  # A-007 C-010
    for _ in range(20):
        put(place.queue)
    report = place.run(rule(free_port()))
    assert (report.deferred, report.connections) == (20, 0)
    assert set(place.standing().values()) == {"4.4.1"}


def test_a_refused_message_is_not_offered_to_the_next_host(place: Place, smtp_server: Start) -> None:
    """A plain no is an answer."""
    bad, good = smtp_server(replies={"RCPT": b"450 4.2.0 later"}), smtp_server()
    put(place.queue)
    assert place.run(rule(bad, good)).deferred == 1
    assert good.sessions == []


def test_a_message_lost_behind_the_dot_is_in_doubt_and_is_tried_nowhere_else(place: Place, smtp_server: Start) -> None:
    bad, good = smtp_server(replies={"DOT": Action.KEEP_AND_CLOSE}), smtp_server()
    put(place.queue)
    report = place.run(rule(bad, good))
    assert (report.deferred, report.doubtful, report.sent) == (1, 1, 0)
    assert good.transactions == []
    (entry,) = place.left()
    assert entry.history.doubts == 1
    assert [line for line in place.lines if entry.queue_id in line and "may be delivered twice" in line]


def test_what_the_server_had_ended_before_goes_over_a_new_connection(place: Place, smtp_server: Start) -> None:  # A-063 G-046
    """A server that closes after each message is no reason to count an attempt."""
    seen: list[int] = []

    def on(point: str, argument: bytes, session: object) -> bytes | None:
        number = getattr(session, "number", 0)
        if point == "MAIL":
            seen.append(number)
            return b"421 4.3.2 one message is enough" if seen.count(number) > 1 else None
        return None

    server = smtp_server(on=on)
    place.limits = Limits(max_connections_per_host=1)
    for _ in range(4):
        put(place.queue)
    report = place.run(server)
    assert (report.sent, report.deferred) == (4, 0)
    assert len(server.accepted) == 4


@pytest.mark.parametrize("refusal", [b"421 4.3.2 enough", b"452 4.5.3 Too many messages sent", Action.CLOSE])
def test_a_message_in_several_transactions_survives_the_end_of_its_session(
    place: Place, smtp_server: Start, refusal: bytes | Action
) -> None:
    """Its recipients are told of in parts, but it is one message: each gets it once."""  # A-056 A-063 A-106

    def on(point: str, argument: bytes, session: Session) -> bytes | Action | None:
        return refusal if point == "MAIL" and session.number == 0 and len(session.transactions) == 1 else None

    server = smtp_server(on=on, keywords=["LIMITS RCPTMAX=2"])
    place.limits = Limits(max_connections_per_host=1)
    put(place.queue, ["first@x"])
    put(place.queue, [f"r{number}@x" for number in range(5)])
    report = place.run(server)
    assert (report.sent, report.deferred, report.failed) == (6, 0, False), place.lines
    assert recipients(server) == ["first@x", *(f"r{number}@x" for number in range(5))]
    assert files(place.spool) == {}


def told(server: ScriptedServer) -> list[list[str]]:
    """The recipients that each notice tells of."""
    notices = [each.content.decode() for each in server.accepted if each.mail_from.startswith(b"MAIL FROM:<>")]
    return sorted(sorted(re.findall(r"^Final-Recipient: [\w-]+; (\S+)", notice, re.MULTILINE)) for notice in notices)


def test_whoever_fails_in_an_attempt_is_in_one_notice(place: Place, smtp_server: Start) -> None:  # C-039
    """Though the session tells of them in parts: it takes several transactions, and one cannot even be named there."""
    replies = {"RCPT TO:<no": b"550 5.1.1 no", "RCPT TO:<late": b"450 4.2.1 later"}
    server = smtp_server(keywords=["LIMITS RCPTMAX=2", "PIPELINING"], replies=replies)
    one = put(place.queue, ["j\u00f6rg@x", "no1@x", "yes@x", "no2@x", "no3@x", "no4@x", "late@x"])
    report = place.run(server)
    assert (report.sent, report.bounced, report.deferred, report.notices) == (2, 5, 1, 1), place.lines
    assert told(server) == [["j\\x{F6}rg@x", "no1@x", "no2@x", "no3@x", "no4@x"]]
    (entry,) = place.left()
    assert (entry.queue_id, entry.history.waiting) == (one, [6])
    events = [(event["event"], len(event.get("results", ()))) for event in entry.history.events]
    assert events == [("attempt", 1), ("attempt", 6), ("bounced", 0)]


@pytest.mark.parametrize("end", [b"421 4.3.2 enough", Action.CLOSE])
def test_who_was_refused_before_the_session_ended_is_told_of_once(
    place: Place, smtp_server: Start, end: bytes | Action
) -> None:  # C-039 A-063
    def on(point: str, argument: bytes, session: Session) -> bytes | Action | None:
        if point == "MAIL" and session.number == 0 and len(session.transactions) == 2:
            return end
        return b"550 5.1.1 no" if argument.startswith(b"TO:<no") else None

    server = smtp_server(on=on, keywords=["LIMITS RCPTMAX=2"])
    place.limits = Limits(max_connections_per_host=1)
    put(place.queue, ["first@x"])
    put(place.queue, ["no1@x", "no2@x", "no3@x", "yes@x"])
    report = place.run(server)
    assert (report.bounced, report.deferred, report.failed) == (2, 2, False), place.lines
    assert place.run(server, everything=True).bounced == 1
    assert told(server) == [["no1@x", "no2@x"], ["no3@x"]]
    assert files(place.spool) == {}


def test_a_connection_takes_so_many_messages_and_no_more(place: Place, smtp_server: Start) -> None:
    """The ancestor stored this number and never read it."""
    server = smtp_server()
    place.limits = Limits(max_connections_per_host=1, max_messages_per_connection=3)
    for _ in range(8):
        put(place.queue)
    assert place.run(server).sent == 8
    assert [len(session.transactions) for session in server.sessions] == [3, 3, 2]


@pytest.mark.parametrize("limits", [Limits(max_connections=2), Limits(max_connections_per_host=2)])
def test_no_more_connections_than_allowed(place: Place, smtp_server: Start, limits: Limits) -> None:
    server = smtp_server()
    place.limits = limits
    for _ in range(40):
        put(place.queue)
    assert place.run(server).sent == 40
    assert server.peak_connections <= 2


def in_background(manager: SmartHostESMTPRelayingManager) -> threading.Thread:
    """A pass that goes on beside the test."""
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    return thread


def test_five_connections_to_begin_with_and_more_with_success_up_to_the_limit(
    place: Place, smtp_server: Start
) -> None:
    looked, grown = threading.Event(), threading.Event()

    def on(point: str, argument: bytes, session: Session) -> None:
        if point == "DOT" and len(session.transactions) > 1:  # the first is the success that it takes
            grown.wait(TIMEOUT)

    server = smtp_server(on=on)
    gate = server.gate("MAIL")
    place.limits = Limits(max_connections_per_host=12)
    for _ in range(120):
        put(place.queue)
    manager = place.manager(server, progress=lambda report, backlog: looked.set())
    thread = in_background(manager)
    server.wait_for(lambda: server.open_connections == 5)
    looked.clear()
    assert looked.wait(TIMEOUT)
    assert server.peak_connections == 5
    gate.open()
    server.wait_for(lambda: server.open_connections == 12)
    looked.clear()
    assert looked.wait(TIMEOUT)
    assert server.open_connections <= 12
    grown.set()
    thread.join()
    assert (manager.report.sent, manager.report.deferred) == (120, 0)


@pytest.mark.parametrize("refusal", [b"421 4.7.0 too many connections", b"554 5.7.1 no", Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("held", ["EHLO", "DOT"])
def test_a_host_that_takes_no_further_connection_is_full_and_not_down(
    place: Place, smtp_server: Start, refusal: bytes | Action, held: str
) -> None:
    """While others stand, or are only being opened: those send all of it, nothing is put off, and it is not asked for more
    again and again."""  # A-003 A-007 A-064 C-010
    lock, refused, refusals = threading.Lock(), threading.Event(), list[Session]()
    standing: list[Session] = []

    def on(point: str, argument: bytes, session: Session) -> bytes | Action | None:
        if point == "GREETING":
            with lock:
                standing[:] = [each for each in standing if not each.closed]
                if len(standing) == 3:
                    refusals.append(session)
                    refused.set()
                    return refusal
                standing.append(session)
        # the first goes alone until it stands, and must not have sent all of it before the others come
        if point == "DOT" or (point == held and session.number):
            refused.wait(TIMEOUT)
        return None

    server = smtp_server(on=on)
    place.limits = Limits(max_connections_per_host=20, max_messages_per_connection=1000)
    for _ in range(300):
        put(place.queue)
    report = place.run(server)
    assert (report.sent, report.deferred, report.failed) == (300, 0, False), place.lines
    assert len(server.accepted) == 300
    # two of the first five, and one more for each hundred messages; a connection that was let go may come back too early
    assert 1 <= len(refusals) <= 10


def test_a_port_that_closes_behind_those_who_stand_costs_nothing(place: Place, smtp_server: Start) -> None:  # A-007 A-064
    server = smtp_server()
    gate = server.gate("MAIL")
    place.limits = Limits(max_connections_per_host=20)
    for _ in range(90):
        put(place.queue)
    manager = place.manager(server)
    thread = in_background(manager)
    server.wait_for(lambda: server.open_connections == 5)
    server.stop_listening()
    gate.open()
    thread.join()
    assert (manager.report.sent, manager.report.deferred) == (90, 0)


def test_a_slow_next_hop_delays_no_other(place: Place, smtp_server: Start) -> None:  # C-011
    """Law 7."""
    slow, quick = smtp_server(), smtp_server()
    gate = slow.gate("GREETING")
    put(place.queue, ["a@slow"])
    manager = place.manager(rule(slow, name="slow", recipient="*@slow"), rule(quick, name="quick"))
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    gate.wait_reached()
    put(place.queue, ["b@quick"])  # it comes in while the other hangs
    quick.wait_for(lambda: quick.accepted)
    gate.open()
    thread.join()
    assert manager.report.sent == 2


# The account


def test_a_wrong_password_is_tried_once_and_holds_all_mail(
    place: Place, smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server(certificate=certificates.server, credentials=("me", "right"))
    place.limits = Limits(max_connections_per_host=1)
    for _ in range(5):
        put(place.queue)
    work = Relay(
        "work",
        ((f"smtp+tls://localhost:{server.port}",),),
        "w:",
        auth=Auth("me", "wrong", literal=True),
        ca_file=certificates.ca_file,
    )
    report = place.run(work)
    assert (report.deferred, report.bounced) == (5, 0)
    assert [line.split()[0] for line in server.commands].count(b"AUTH") == 1
    assert set(place.standing().values()) == {"4.7.8"}
    assert len(report.trouble) == 1 and "wrong" not in "".join(report.trouble + place.lines).replace("535 5.7.8 wrong", "")


def test_a_ca_file_that_cannot_be_used_is_the_accounts_trouble(
    place: Place, smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server(certificate=certificates.server)
    put(place.queue)
    report = place.run(Relay("work", ((f"smtp+tls://localhost:{server.port}",),), "w:", ca_file="/nowhere/ca.pem"))
    assert report.deferred == 1 and "/nowhere/ca.pem" in report.trouble[0]


def test_a_server_that_wants_a_sign_in_is_asked_by_one_message_and_the_setting_is_named(
    place: Place, smtp_server: Start
) -> None:
    server = smtp_server(replies={"MAIL": b"530 5.7.0 sign in first"})
    place.limits = Limits(max_connections_per_host=1)
    for _ in range(30):
        put(place.queue)
    report = place.run(server)
    assert (report.deferred, report.bounced) == (30, 0)
    assert [line.split()[0] for line in server.commands].count(b"MAIL") <= 3  # one, and what was on its way with it
    assert len(report.trouble) == 1 and "no auth" in report.trouble[0]


# Protocol, stop, spool


def test_plain_smtp_says_helo_and_nothing_that_was_not_in_rfc_821(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    put(place.queue)
    put(place.queue)
    place.kind = SmartHostSMTPRelayingManager
    assert place.run(server).sent == 2
    assert {line.split()[0] for line in server.commands} == {b"HELO", b"MAIL", b"RCPT", b"DATA", b"QUIT"}
    assert server.transactions[0].mail_from == b"MAIL FROM:<s@example.org>"
    place.kind = SmartHostESMTPRelayingManager
    put(place.queue)
    assert place.run(rule(server, protocol="smtp")).sent == 1
    assert b"EHLO" not in {line.split()[0] for line in server.commands}


def test_a_pass_that_is_stopped_begins_nothing_new_and_finishes_its_final_dot(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("DOT")
    place.limits = Limits(max_connections_per_host=1)
    for _ in range(3):
        put(place.queue)
    manager = place.manager(server)
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    gate.wait_reached()
    manager.stop()
    gate.open()
    thread.join()
    assert manager.report.stopped and len(server.accepted) == manager.report.sent == 1
    assert len(place.left()) == 2 and all(entry.history.attempts == 0 for entry in place.left())


def test_a_second_stop_does_not_wait_and_writes_what_is_in_doubt(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("DOT")
    put(place.queue)
    manager = place.manager(server)
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    gate.wait_reached()
    manager.stop()
    manager.stop()
    thread.join()
    gate.open()
    (entry,) = place.left()
    status = entry.history.last[0]
    assert status is not None and (status.action, status.doubt) == ("deferred", True)


def test_one_bad_file_never_stops_a_pass(place: Place, smtp_server: Start) -> None:  # C-013
    server = smtp_server()
    good = put(place.queue)
    for folder, end in (("new", "0"), ("cur", "1"), ("hold", "2")):
        with open(f"{place.spool}/{folder}/{good[:-2]}{end}B", "wb") as file:
            file.write(b"no envelope\n")
    with open(f"{place.spool}/cur/{good[:-2]}3B,n=5", "wb"):
        pass
    with open(f"{place.spool}/new/{good[:-2]}4B", "wb") as file:
        file.write(b'Smartrelay-Envelope: {"v":1,"arrived":1,"uid":0,"sender":"","recipients":["a@b> SIZE=1"]')
    report = place.run(server)
    assert report.sent == 1 and not report.failed
    assert len(files(place.spool)["corrupt"]) == 4 and len(files(place.spool)["hold"]) == 1


def test_a_journal_that_cannot_be_read_keeps_its_message_and_no_other(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    bad, good = put(place.queue, ["bad@x"]), put(place.queue, ["good@x"])
    (Path(place.spool) / "state" / bad).mkdir()
    report = place.run(server)
    assert (report.sent, report.failed) == (1, True)
    assert [entry.queue_id for entry in place.left()] == [bad] and good != bad


def test_a_notice_that_a_crash_left_owed_is_published_once(place: Place, smtp_server: Start) -> None:  # C-040
    """Law 3: the journal called for it, and then the lights went out."""
    server = smtp_server()
    one = put(place.queue, ["a@x", "b@x"])
    row = [0, "failed", "5.1.1", "550 5.1.1 no", 550, "h[1.2.3.4]:25", "rcpt", False]
    event = {"event": "attempt", "time": 5.0, "relay": "work", "results": [row]}
    event["notice"] = {"time": 5.25, "number": 1, "recipients": [0]}
    Journal(place.spool, one).append(event, sync=True)
    report = place.run(server)
    assert (report.notices, report.sent) == (1, 2)
    assert sorted(t.recipients[0] for t in server.accepted) == [b"<b@x>", b"<s@example.org>"]
    notice = next(t.content for t in server.accepted if t.recipients == [b"<s@example.org>"])
    assert b"Final-Recipient: rfc822; a@x" in notice and b"b@x" not in notice.partition(b"text/rfc822-headers")[0]
    assert files(place.spool) == {}


def test_a_server_that_answers_in_pieces_is_understood(place: Place, smtp_server: Start) -> None:
    gate = Gate()
    server = smtp_server(replies={"DOT": Pieces([b"250-2.0", gate, b".0 a\r\n25", b"0 2.0.0 b\r\n"])})
    put(place.queue)
    manager = place.manager(server)
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    gate.wait_reached()
    gate.open()
    thread.join()
    assert manager.report.sent == 1


# As many connections as are of use.


class Told(Pace):
    """A pace that is told by the test what it sees."""

    def __init__(self, sees_free: Callable[[], bool], sees_busy: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._sees = sees_free, sees_busy

    def look(self) -> bool:
        self.free, self.busy = (sees() for sees in self._sees)
        return True


def test_the_first_connection_goes_alone_where_another_is_of_no_use(place: Place, smtp_server: Start) -> None:
    server = smtp_server()
    for _ in range(40):
        put(place.queue)
    report = place.run(server, pace=lambda: Told(lambda: False))
    assert (report.sent, report.connections) == (40, 1)


def test_connections_that_are_in_each_others_way_are_let_go_but_for_one(place: Place, smtp_server: Start) -> None:
    """Threads in each other's way: each ends behind the message that it is at, and nothing is tried twice."""
    crowd: set[int] = set()
    crowded = threading.Event()

    def on(point: str, argument: bytes, session: object) -> None:
        if point == "DOT":
            crowd.add(getattr(session, "number", 0))
            if len(crowd) >= 5:
                crowded.set()
            assert crowded.wait(20)

    server = smtp_server(on=on)
    place.limits = Limits(max_messages_per_connection=1000)
    for _ in range(400):
        put(place.queue)
    report = place.run(server, pace=lambda: Told(lambda: not crowded.is_set(), crowded.is_set))
    assert (report.sent, report.deferred, report.connections) == (400, 0, 5)
    assert len(server.accepted) == 400
    assert max(len(session.transactions) for session in server.sessions) > 200
