"""The worst that a server can do, at every single octet: the verdict is right, and time and memory are bounded."""

import tracemalloc
from collections import deque

import pytest

from smartrelay.relay.blame import judge
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import open_session
from tests.smtp.cut_server import Cut, CutServer, Step
from tests.smtp.scene import R1, R2, Told, message, policy

FIRST, SECOND = "s1@a.example", "s2@a.example"
TEXTS = {FIRST: b"Subject: one\n\n.one\n", SECOND: b"Subject: two\n\n.two\n"}
ENDS = pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])

GREETING = Step(b"", b"220-hello\r\n220 there\r\n")
OK, GO, TAKEN = b"250 2.1.0 ok\r\n", b"354 go\r\n", b"250-2.0.0 taken\r\n250 2.0.0 by me\r\n"
FULL, DOT, NEXT = b"452 4.2.2 full\r\n", b"\r\n.\r\n", b""
QUIT = Step(b"QUIT\r\n", b"221 bye\r\n")

Row = tuple[Phase, str, Step]
"""What a reply is the answer to, and whose (a sender)."""


def ehlo(*keywords: bytes) -> Row:
    lines = [b"relay", *keywords, b"AUTH LOGIN"]
    return (
        Phase.EHLO,
        "",
        Step(b".test\r\n", b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"),
    )


AUTH: list[Row] = [
    (Phase.AUTH, "", Step(b"AUTH LOGIN\r\n", b"334 VXNlcjo=\r\n")),
    (Phase.AUTH, "", Step(b"bWU=\r\n", b"334 UGFzczo=\r\n")),
    (Phase.AUTH, "", Step(b"aHVudGVyMg==\r\n", b"235 ok\r\n")),
]
"""As "me" with "hunter2"."""


def one_by_one(sender: str, *ends: bytes) -> list[Row]:
    """Two recipients; what is said to the text."""
    envelope = [
        (Phase.MAIL, sender, Step(b"\r\n", OK)),
        *[(Phase.RCPT, sender, Step(b"\r\n", OK))] * 2,
        (Phase.DATA, sender, Step(b"DATA\r\n", GO)),
    ]
    return [*envelope, *((Phase.END, sender, Step(NEXT if number else DOT, end)) for number, end in enumerate(ends))]


def envelope(sender: str, awaited: bytes) -> list[Row]:
    """In one group."""
    return [
        (Phase.MAIL, sender, Step(awaited, OK)),
        *[(Phase.RCPT, sender, Step(NEXT, OK))] * 2,
        (Phase.DATA, sender, Step(NEXT, GO)),
    ]


def chunked(sender: str, awaited: bytes) -> list[Row]:
    return [
        (Phase.RSET, sender, Step(awaited, OK)),
        (Phase.MAIL, sender, Step(NEXT, OK)),
        *[(Phase.RCPT, sender, Step(NEXT, OK))] * 2,
        (Phase.CHUNK, sender, Step(NEXT, TAKEN)),
    ]


SCRIPTS: dict[str, list[Row]] = {
    "one by one": [ehlo(), *AUTH, *one_by_one(FIRST, TAKEN), *one_by_one(SECOND, TAKEN)],
    "lmtp": [ehlo(), *AUTH, *one_by_one(FIRST, TAKEN, FULL), *one_by_one(SECOND, FULL, TAKEN)],
    "pipelined": [
        ehlo(b"PIPELINING"),
        *AUTH,
        *envelope(FIRST, b"DATA\r\n"),
        (Phase.END, FIRST, Step(b"DATA\r\n", TAKEN)),
        *envelope(SECOND, NEXT),
        (Phase.END, SECOND, Step(DOT, TAKEN)),
    ],
    "a window of two": [ehlo(b"PIPELINING", b"CHUNKING"), *AUTH, *chunked(FIRST, b".two\r\n"), *chunked(SECOND, NEXT)],
}
for rows in SCRIPTS.values():
    rows.insert(0, (Phase.GREETING, "", GREETING))
    rows.append((Phase.QUIT, "", QUIT))


def steps(script: str) -> list[Step]:
    return [step for _, _, step in SCRIPTS[script]]


def told_by(server: CutServer, script: str) -> Answer | dict[str, list[Answer]]:
    """Why there was no session, or what came of each message, by sender."""
    session = open_session(
        Target("127.0.0.1", server.port),
        policy(
            tls="none",
            lmtp=script == "lmtp",
            window=2 if script == "a window of two" else 1,
            signs_in=True,
            user="me",
            secret="hunter2",
        ),
    )
    if isinstance(session, Answer):
        return session
    waiting, told = deque(message([R1, R2], sender, TEXTS[sender]) for sender in TEXTS), Told()
    session.relay(lambda: waiting.popleft() if waiting else None, told)
    session.close()
    server.join()
    return {wanted.reverse_path: told.of(wanted) for wanted in told.answers}


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_octet_in_a_write_of_its_own_is_the_same_dialogue(script: str) -> None:  # A-001 A-020 A-101
    with CutServer(steps(script), slowly=True) as server:
        found = told_by(server, script)
    with CutServer(steps(script)) as server:
        assert told_by(server, script) == found
    assert isinstance(found, dict) and list(found) == list(TEXTS)
    assert all(answer.reply is not None for answers in found.values() for answer in answers)


def turning_points(rows: list[Row], sender: str) -> tuple[int, int, int]:
    """The reply from which on the message's text is out, and those that are the verdicts for its two recipients."""
    ends = [at for at, (phase, whose, _) in enumerate(rows) if whose == sender and phase in (Phase.END, Phase.CHUNK)]
    # in a window all is written before anything is answered
    resets = [at for at, (phase, _, _) in enumerate(rows) if phase is Phase.RSET]
    return (resets or ends)[0], ends[0], ends[-1]


@ENDS
@pytest.mark.parametrize("script", SCRIPTS)
def test_cut_off_at_any_octet_the_verdict_is_right(script: str, reset: bool) -> None:
    """Whoever has a whole reply to his text has that verdict; in doubt is whose text went out whole and who has none; nothing
    else was taken, and the phase is the one in which it ended."""  # A-025 A-029 A-030 A-059 A-060 G-026
    rows = SCRIPTS[script]
    for number, (phase, sender, step) in enumerate(rows):
        for octets in range(len(step.reply)):
            with CutServer(steps(script), Cut(number, octets, reset)) as server:
                found = told_by(server, script)
            where = (phase, sender, octets)
            if isinstance(found, Answer):
                assert (found.trouble, judge(found, "h").status.action) == (Trouble.LOST, "deferred"), where
                assert found.phase is phase, where
                continue
            for each, answers in found.items():
                out, *ends = turning_points(rows, each)
                for answer, end in zip(answers, ends, strict=True):
                    status = judge(answer, "h").status
                    assert status.doubt == (out <= number <= end), (where, each, status)
                    assert (status.action == "delivered") == (end < number and rows[end][2].reply is TAKEN), (where, status)


GARBAGE = {
    "nonsense": b"nonsense\r\n",
    "nothing but a line end": b"\r\n",
    "NUL": b"\0" * 300 + b"\r\n",
    "HTTP": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n250\r\n",
    "a TLS record": b"\x15\x03\x01\x00\x02\x02\x28\r\n",
    "two codes": b"250-a\r\n354 b\r\n",
    "a code that is none": b"650 a\r\n",
    "digits of another script": "٢٥٠ ok\r\n".encode(),
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("script", SCRIPTS)
def test_garbage_at_any_step_decides_nothing(script: str, garbage: str) -> None:  # A-006 A-022 A-028 A-030
    """What was answered before has its verdict; nobody fails for it, and what is in doubt is said to be."""
    rows = SCRIPTS[script]
    for number, (phase, sender, _) in enumerate(rows):
        spoiled = steps(script)
        spoiled[number] = spoiled[number]._replace(reply=GARBAGE[garbage])
        with CutServer(spoiled[: number + 1]) as server:
            found = told_by(server, script)
        where = (phase, sender)
        if isinstance(found, Answer):
            assert (found.phase, found.trouble) == (phase, Trouble.PROTOCOL), where
            assert judge(found, "h").status.action == "deferred", where
            continue
        for each, answers in found.items():
            out, *ends = turning_points(rows, each)
            for answer, end in zip(answers, ends, strict=True):
                status = judge(answer, "h").status
                assert status.doubt == (out <= number <= end), (where, each, status)
                assert (status.action == "delivered") == (end < number and rows[end][2].reply is TAKEN), (where, status)


FLOODS = {"lines": b"250-x\r\n" * 9000, "one line": b"2" * 65536, "replies": b"250 2.0.0 ok\r\n" * 5000}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_flood_of_100_megabytes_at_any_step_is_not_read(script: str, flood: str) -> None:  # A-023 A-024 A-028 G-012
    """Neither held in memory nor waited for; and it makes no success."""
    rows = SCRIPTS[script]
    for number, (phase, _, _) in enumerate(rows):
        spoiled = steps(script)[: number + 1]
        spoiled[number] = Step(spoiled[number].awaited, FLOODS[flood], 100_000_000 // len(FLOODS[flood]))
        tracemalloc.start()
        with CutServer(spoiled) as server:
            found = told_by(server, script)
            server.join()
            peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert server.said < 20_000_000, (phase, server.said)  # what the buffers of two sockets hold, at most
        assert peak < 4_000_000, (phase, peak)
        if isinstance(found, Answer):
            assert judge(found, "h").status.action == "deferred"
            continue
        for each, answers in found.items():
            out, *_ = turning_points(rows, each)
            for answer in answers:
                action = judge(answer, "h").status.action
                assert action == "deferred" or (action == "delivered" and number >= out), (phase, each, answer)
