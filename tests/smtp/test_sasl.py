"""Signing in: the RFCs' own vectors, servers that lie, and the whole exchange on the wire."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from smartrelay.relay.blame import Scope, judge
from smartrelay.smtp import sasl
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.wire import SessionBroken
from tests.smtp.scene import NAME, PATIENT, Start, message, opened, refusal, relay, target
from tests.support.certificates import Certificates
from tests.support.smtp_server import Action, ScriptedServer, Session

USER, PASSWORD = "me@example.org", "pä$$wörd"


# The vectors


def vector(digest: str) -> tuple[sasl.Scram, bytes, bytes, bytes, bytes]:
    """RFC 5802 section 5 and RFC 7677 section 3: the mechanism with the client's nonce, and the four messages."""
    if digest == "sha1":
        nonce, rest, salt = "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92"
        proof, signature = "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="
    else:
        nonce, rest, salt = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ=="
        proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        signature = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    scram = sasl.Scram(digest, "user", "pencil", lambda size: base64.b64decode(nonce))
    return (
        scram,
        f"n,,n=user,r={nonce}".encode(),
        f"r={nonce}{rest},s={salt},i=4096".encode(),
        f"c=biws,r={nonce}{rest},p={proof}".encode(),
        f"v={signature}".encode(),
    )


DIGESTS = pytest.mark.parametrize("digest", ["sha1", "sha256"])


@DIGESTS
def test_scram_says_what_the_rfc_says(digest: str) -> None:  # A-126 A-127
    scram, client_first, server_first, client_final, server_final = vector(digest)
    assert scram.initial() == client_first
    assert scram.respond(server_first) == client_final
    assert not scram.satisfied
    assert scram.respond(server_final) == b""
    assert scram.satisfied


def test_cram_md5_says_what_the_rfc_says() -> None:
    cram = sasl.CramMD5("tim", "tanstaaftanstaaf")
    assert cram.initial() is None
    assert cram.respond(b"<1896.697170952@postoffice.reston.mci.net>") == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_plain_says_what_the_rfc_says() -> None:  # A-120 A-123 G-031
    assert sasl.Plain("tim", "tanstaaftanstaaf").initial() == b"\0tim\0tanstaaftanstaaf"
    assert sasl.encoded(sasl.Plain("user", "pass").initial() or b"", initial=True) == b"AHVzZXIAcGFzcw=="
    assert sasl.Plain("ü", "pä").initial() == "\0ü\0pä".encode()


def test_an_empty_initial_response_is_an_equals_sign_and_any_other_empty_one_an_empty_line() -> None:  # A-131 G-034
    assert sasl.encoded(sasl.External("", "").initial() or b"", initial=True) == b"="
    assert sasl.encoded(b"") == b""


@DIGESTS
@pytest.mark.parametrize(
    "spoil",
    [
        lambda first: first.replace(b"r=", b"r=x"),  # the nonce does not begin with ours
        lambda first: b"r=" + first[2:].split(b",")[0][:20] + b"," + first.partition(b",")[2],  # nor adds to it
        lambda first: first.replace(b"i=4096", b"i=1"),
        lambda first: first.replace(b"i=4096", b"i=4095"),
        lambda first: first.replace(b"i=4096", b"i=1000000000"),
        lambda first: first.replace(b"i=4096", b"i=" + b"9" * 500),
        lambda first: first.replace(b"i=4096", b"i=-5000"),
        lambda first: first.replace(b"i=4096", b"i=4096.0"),
        lambda first: first.replace(b"i=4096", b""),
        lambda first: b"m=x," + first,
        lambda first: first.partition(b",s=")[0] + b",s=@@@,i=4096",
        lambda first: first.partition(b",s=")[0] + b",s=,i=4096",
        lambda first: first + b",i=8192",  # twice
        lambda first: b"",
        lambda first: b"\xff\xfe",
        lambda first: b"e=other-error",
    ],
)
def test_a_server_whose_first_message_makes_no_sense_gets_no_proof(digest: str, spoil: Callable[[bytes], bytes]) -> None:
    """And at once: an absurd number of rounds is not begun."""
    scram, _, server_first, _, _ = vector(digest)
    scram.initial()
    started = time.process_time()
    with pytest.raises(sasl.Refused) as caught:
        scram.respond(spoil(server_first))
    assert time.process_time() - started < 0.5
    assert "pencil" not in str(caught.value)
    assert not scram.satisfied


@DIGESTS
@pytest.mark.parametrize("final", [b"v=AAAA", b"v=", b"v=@", b"", b"e=invalid-proof", b"v=RmF9pqV8S7suAoZWja4dJRkFsKQ="])
def test_a_server_that_does_not_know_the_password_is_not_believed(digest: str, final: bytes) -> None:
    scram, _, server_first, _, _ = vector(digest)
    scram.initial()
    scram.respond(server_first)
    with pytest.raises(sasl.Refused):
        scram.respond(final)
    assert not scram.satisfied


@DIGESTS
def test_a_second_signature_is_refused(digest: str) -> None:
    scram, _, server_first, _, server_final = vector(digest)
    scram.initial()
    scram.respond(server_first)
    scram.respond(server_final)
    with pytest.raises(sasl.Refused):
        scram.respond(server_final)


def test_what_separates_attributes_is_escaped_in_the_name() -> None:
    initial = sasl.Scram("sha256", "a,b=c", "x").initial()
    assert initial is not None and initial.startswith(b"n,,n=a=2Cb=3Dc,r=")


@pytest.mark.parametrize(
    ("written", "prepared"),
    [
        ("user", "user"),
        ("USER", "USER"),
        ("I\u00adX", "IX"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b\u3000c", "a b c"),
        ("p\u0061\u0308", "p\u00e4"),
        ("a\ufe0fb\u200dc", "abc"),
    ],
)
def test_scram_prepares_name_and_password_as_the_server_does(written: str, prepared: str) -> None:  # A-123 A-126
    """RFC 4013 section 3 has the first five: whoever types the same password in another way has the same proof."""
    firsts = [sasl.Scram("sha256", name, "x", lambda size: b"n" * size).initial() for name in (written, prepared)]
    assert firsts[0] == firsts[1]
    proofs = []
    for password in (written, prepared):
        scram = sasl.Scram("sha256", "user", password, lambda size: b"n" * size)
        nonce = (scram.initial() or b"").partition(b",r=")[2]
        proofs.append(scram.respond(b"r=" + nonce + b"srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
    assert proofs[0] == proofs[1]


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    assert len({sasl.Scram("sha256", "u", "x").initial() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("mechanism", "challenges"),
    [(sasl.Plain("u", "p"), 0), (sasl.External("", ""), 0), (sasl.CramMD5("u", "p"), 1), (sasl.Login("u", "p"), 2)],
)
def test_one_challenge_too_many_is_refused(mechanism: sasl.Mechanism, challenges: int) -> None:
    mechanism.initial()
    for _ in range(challenges):
        mechanism.respond(b"x")
    with pytest.raises(sasl.Refused):
        mechanism.respond(b"x")


# Which mechanism

ALL = "LOGIN PLAIN EXTERNAL CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XYZ GSSAPI"


@pytest.mark.parametrize(
    ("offered", "wanted", "certificate", "secret", "names"),
    [
        (ALL, "auto", False, True, ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]),
        (ALL, "auto", True, True, ["EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]),
        (ALL, "auto", True, False, ["EXTERNAL"]),
        (ALL, "auto", False, False, []),
        (ALL, "external", False, True, []),
        (ALL, "plain", False, True, ["PLAIN"]),
        (ALL.lower(), "scram-sha-256", False, True, ["SCRAM-SHA-256"]),
        ("login Plain", "auto", False, True, ["PLAIN", "LOGIN"]),
        ("CRAM-MD5", "login", False, True, []),
        ("", "auto", False, True, []),
    ],
)
def test_the_strongest_mechanism_comes_first(
    offered: str, wanted: str, certificate: bool, secret: bool, names: list[str]
) -> None:
    """G-032 G-036"""
    assert sasl.choose(offered, wanted, certificate=certificate, secret=secret) == names


# On the wire


@contextmanager
def greeted(server: ScriptedServer) -> Iterator[SMTPClient]:
    connection = connect(target(server), PATIENT)
    assert not isinstance(connection, Answer)
    client = SMTPClient(connection, NAME, PATIENT)
    try:
        assert client.wire.greeting().good and client.hello(extended=True).good
        yield client
    finally:
        client.close()


def sign_in(
    server: ScriptedServer, mechanism: str = "auto", *, user: str = USER, password: str = PASSWORD, certificate: bool = False
) -> Answer:
    with greeted(server) as client:
        account = sasl.Account(user, password, "mail.example.test", 587)
        return client.authenticate(account, mechanism, certificate=certificate)


def answering(*replies: bytes, cancelled: bytes = b"501 5.7.0 cancelled") -> Callable[[str, bytes, Session], bytes | None]:
    """Says these replies to AUTH and to each line behind it."""

    def on(point: str, argument: bytes, session: Session) -> bytes | None:
        if point in ("GREETING", "EHLO", "QUIT", "MAIL", "RCPT", "DATA", "DOT", "RSET"):
            return None
        if point == "*":
            return cancelled
        return replies[len(session.commands) - 2]

    return on


def challenge(octets: bytes) -> bytes:
    return b"334 " + base64.b64encode(octets)


def test_plain_is_one_line_of_utf8(smtp_server: Start) -> None:  # A-120 A-123 G-031
    server = smtp_server(credentials=(USER, PASSWORD))
    assert sign_in(server, "plain").good
    assert server.commands[1:] == [b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())]
    assert server.sessions[0].user == USER


def test_a_long_initial_response_waits_for_its_challenge(smtp_server: Start) -> None:
    """`AUTH PLAIN` and 512 octets with its CRLF is still one line; one octet more is two."""  # A-130 G-034
    for octets, lines in ((372, 1), (373, 2), (3000, 2)):
        password = "x" * (octets - 4)
        server = smtp_server(credentials=("me", password))
        assert sign_in(server, "plain", user="me", password=password).good
        assert server.sessions[0].user == "me"
        assert len(server.commands[1]) <= 510
        (read,) = [octets for who, octets in server.sessions[0].transcript if who == "C" and octets.startswith(b"AUTH")]
        assert (len(read.split()) == 3) == (lines == 1)


@pytest.mark.parametrize("prompts", [(b"Username:", b"Password:"), (b"User Name\0", b"Password\0"), (b"x", b"y"), (b"", b"")])
def test_login_answers_its_prompts_whatever_they_say(smtp_server: Start, prompts: tuple[bytes, bytes]) -> None:  # A-124 G-032
    server = smtp_server(keywords=["AUTH LOGIN"], on=answering(*map(challenge, prompts), b"235 welcome"))
    assert sign_in(server).good
    assert server.commands[1:] == [b"AUTH LOGIN", base64.b64encode(USER.encode()), base64.b64encode(PASSWORD.encode())]


def test_a_third_prompt_is_cancelled(smtp_server: Start) -> None:  # A-124 G-036
    server = smtp_server(keywords=["AUTH LOGIN"], on=answering(*[challenge(b"x")] * 5))
    answer = sign_in(server)
    assert (answer.phase, answer.trouble) == (Phase.AUTH, Trouble.PROTOCOL)
    assert server.commands[-1] == b"*" and len(server.commands) == 5


def test_cram_md5_on_the_wire(smtp_server: Start) -> None:
    asked = b"<1896.697170952@postoffice.reston.mci.net>"
    server = smtp_server(keywords=["AUTH CRAM-MD5"], on=answering(challenge(asked), b"235 ok"))
    assert sign_in(server, user="tim", password="tanstaaftanstaaf").good
    assert server.commands[1:] == [b"AUTH CRAM-MD5", base64.b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890")]


class ScramServer:
    """The server's side of SCRAM, put together from RFC 5802 section 3 anew. lie: what it does wrong."""

    def __init__(self, digest: str, user: str, password: str, lie: str = "") -> None:
        self.digest, self.user, self.lie = digest, user, lie
        self.salt, self.rounds = b"0123456789abcdef", 4096
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), self.salt, self.rounds)
        self.client_key, self.server_key = self.mac(salted, b"Client Key"), self.mac(salted, b"Server Key")
        self.stage = 0
        self.bare = self.first = ""
        self.proved = False

    def mac(self, key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, self.digest).digest()

    def on(self, point: str, argument: bytes, session: Session) -> bytes | None:
        if point in ("GREETING", "EHLO", "QUIT"):
            return None
        if point == "*":
            return b"501 cancelled"
        self.stage += 1
        return getattr(self, f"step{self.stage}")(session.commands[-1])  # type: ignore[no-any-return]

    def step1(self, line: bytes) -> bytes:
        said = base64.b64decode(line.split(b" ")[2], validate=True).decode()
        assert said.startswith("n,,")
        self.bare = said[3:]
        nonce = self.bare.partition(",r=")[2]
        rounds = {"one round": 1, "a billion rounds": 10**9}.get(self.lie, self.rounds)
        first = f"r={'' if self.lie == 'foreign nonce' else nonce}srv,s={base64.b64encode(self.salt).decode()},i={rounds}"
        self.first = f"m=ext,{first}" if self.lie == "extension" else first
        return challenge(self.first.encode())

    def step2(self, line: bytes) -> bytes:
        final, _, proof = base64.b64decode(line, validate=True).decode().partition(",p=")
        message = f"{self.bare},{self.first},{final}".encode()
        stored = hashlib.new(self.digest, self.client_key).digest()
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), self.mac(stored, message), strict=True))
        self.proved = hashlib.new(self.digest, key).digest() == stored and final.startswith("c=biws,")
        if not self.proved:
            return b"535 5.7.8 wrong"
        if self.lie == "no signature":
            return b"235 2.7.0 believe me"
        signature = self.mac(self.server_key, b"x" if self.lie == "wrong signature" else message)
        return challenge(b"v=" + base64.b64encode(signature))

    def step3(self, line: bytes) -> bytes:
        return b"235 2.7.0 welcome" if line == b"" else b"501 5.5.2 an empty line was due"


MECHANISMS = pytest.mark.parametrize(("name", "digest"), [("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256")])


@MECHANISMS
def test_scram_on_the_wire_ends_with_an_empty_line_and_235(smtp_server: Start, name: str, digest: str) -> None:  # A-126 A-127
    theirs = ScramServer(digest, "me", "hunter2")
    server = smtp_server(keywords=[f"AUTH {name} PLAIN"], on=theirs.on)
    assert sign_in(server, user="me", password="hunter2").good
    assert theirs.proved
    assert server.commands[-1] == b"" and len(server.commands) == 4
    assert not any(b"hunter2" in base64.b64decode(line) for line in server.commands[2:])


@MECHANISMS
@pytest.mark.parametrize(
    "lie", ["foreign nonce", "one round", "a billion rounds", "extension", "no signature", "wrong signature"]
)
def test_a_scram_server_that_lies_is_never_signed_in_to(smtp_server: Start, name: str, digest: str, lie: str) -> None:
    """Cancelled with `*` where it still can be; nothing weaker is tried; all mail waits."""  # A-126 A-127
    theirs = ScramServer(digest, "me", "hunter2", lie)
    server = smtp_server(keywords=[f"AUTH {name} PLAIN LOGIN"], on=theirs.on)
    answer = sign_in(server, user="me", password="hunter2")
    assert (answer.phase, answer.trouble) == (Phase.AUTH, Trouble.PROTOCOL)
    assert judge(answer, "host").status.action == "deferred"
    assert (server.commands[-1] == b"*") == (lie != "no signature")
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) == 1


@MECHANISMS
def test_a_wrong_password_is_told_by_the_server(smtp_server: Start, name: str, digest: str) -> None:
    theirs = ScramServer(digest, "me", "another")
    server = smtp_server(keywords=[f"AUTH {name} PLAIN"], on=theirs.on)
    answer = sign_in(server, user="me", password="hunter2")
    assert answer.reply is not None and answer.reply.code == 535
    assert len(server.commands) == 3


def test_external_says_nothing_because_the_certificate_has_said_it(smtp_server: Start) -> None:  # A-131 A-164
    server = smtp_server(keywords=["AUTH PLAIN EXTERNAL"], on=answering(b"235 ok"))
    assert sign_in(server, user="", password="", certificate=True).good
    assert server.commands[1:] == [b"AUTH EXTERNAL ="]
    server = smtp_server(keywords=["AUTH EXTERNAL"], on=answering(b"235 ok"))
    assert sign_in(server, user="me", password="", certificate=True).good
    assert server.commands[1:] == [b"AUTH EXTERNAL bWU="]


TOKEN = "ya29.token"
ERROR = b'{"status":"400","schemes":"Bearer"}'


@pytest.mark.parametrize(
    ("name", "response", "acknowledgement"),
    [
        ("XOAUTH2", f"user=a,b=c@x\1auth=Bearer {TOKEN}\1\1", b""),
        ("OAUTHBEARER", f"n,a=a=2Cb=3Dc@x,\1host=mail.example.test\1port=587\1auth=Bearer {TOKEN}\1\1", b"AQ=="),
    ],
)
def test_a_token_is_shown_once_and_a_no_is_heard_to_its_end(
    smtp_server: Start, name: str, response: str, acknowledgement: bytes
) -> None:  # A-128 A-129
    server = smtp_server(keywords=[f"AUTH PLAIN {name}"], on=answering(b"235 ok"))
    assert sign_in(server, name.lower(), user="a,b=c@x", password=TOKEN).good
    assert server.commands[1:] == [f"AUTH {name} ".encode() + base64.b64encode(response.encode())]
    server = smtp_server(keywords=[f"AUTH {name}"], on=answering(challenge(ERROR), b"535 5.7.8 expired"))
    answer = sign_in(server, name.lower(), user="a,b=c@x", password=TOKEN)
    assert answer.reply is not None and answer.reply.code == 535
    assert server.commands[2:] == [acknowledgement], "and nothing is tried again"
    judgement = judge(answer, "host")
    assert (judgement.scope, judgement.status.action) == (Scope.ACCOUNT, "deferred")


def test_a_long_token_waits_for_its_challenge(smtp_server: Start) -> None:
    token = "x" * 1500
    server = smtp_server(keywords=["AUTH XOAUTH2"], on=answering(b"334 ", b"235 ok"))
    assert sign_in(server, "xoauth2", user="me", password=token).good
    assert server.commands[1] == b"AUTH XOAUTH2"
    assert server.commands[2] == base64.b64encode(f"user=me\1auth=Bearer {token}\1\1".encode())


def test_a_password_is_never_taken_for_a_token(smtp_server: Start) -> None:  # A-121 A-139
    server = smtp_server(keywords=["AUTH XOAUTH2 OAUTHBEARER"])
    assert sign_in(server).trouble is Trouble.NO_MECHANISM
    assert len(server.commands) == 1


@pytest.mark.parametrize("nonsense", [b"@@@", b"YQ", b"YQ=", b"Y Q==", b"YQ==YQ==", b"=", b"\xff"])
def test_a_challenge_that_is_no_base64_is_cancelled(smtp_server: Start, nonsense: bytes) -> None:  # A-132 G-035
    server = smtp_server(keywords=["AUTH LOGIN"], on=answering(b"334 " + nonsense))
    answer = sign_in(server)
    assert (answer.phase, answer.trouble) == (Phase.AUTH, Trouble.PROTOCOL)
    assert server.commands[1:] == [b"AUTH LOGIN", b"*"]


def test_a_challenge_too_long_for_us_is_cancelled_and_never_cut(smtp_server: Start) -> None:
    server = smtp_server(keywords=["AUTH CRAM-MD5"], on=answering(challenge(b"<" + b"x" * 3000 + b">"), b"235 ok"))
    answer = sign_in(server, user="me", password="hunter2")
    if answer.good:
        digest = hmac.new(b"hunter2", b"<" + b"x" * 3000 + b">", "md5").hexdigest().encode()
        assert server.commands[-1] == base64.b64encode(b"me " + digest)
    else:
        assert server.commands[-1] == b"*"


@pytest.mark.parametrize("code", [535, 503, 454, 421, 501, 550, 538])
def test_a_no_is_one_attempt_with_one_mechanism(smtp_server: Start, code: int) -> None:
    """And 503 is no yes."""  # A-134 A-135 G-032 G-033
    server = smtp_server(keywords=["AUTH PLAIN LOGIN CRAM-MD5"], replies={"AUTH": b"%d 5.7.8 no" % code})
    answer = sign_in(server)
    assert not answer.good and answer.reply is not None and answer.reply.code == code
    assert [line for line in server.commands if line.startswith(b"AUTH")] == [b"AUTH CRAM-MD5"]
    judgement = judge(answer, "host")
    assert judgement.status.action == "deferred"
    assert judgement.scope is (Scope.HOST if code in (421, 454) else Scope.ACCOUNT)


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_a_secret_that_the_server_says_back_is_hidden(smtp_server: Start, mechanism: str) -> None:
    """As it is, as replies show it, and as it went over the wire; but not in a challenge."""
    password = "two  words for h\u00f6nig"
    plain = base64.b64encode(f"\0{USER}\0{password}".encode())
    forms = ["two words for h?nig", base64.b64encode(password.encode()).decode(), plain.decode()]

    def on(point: str, argument: bytes, session: Session) -> bytes | None:
        if point in ("GREETING", "EHLO", "QUIT"):
            return None
        if mechanism == "login" and len(session.commands) < 4:
            return b"334 " + forms[1].encode()
        return b"535 5.7.8 you said " + " and ".join((password, *forms)).encode()

    server = smtp_server(keywords=["AUTH PLAIN LOGIN"], on=on)
    answer = sign_in(server, mechanism, password=password)
    assert answer.reply is not None
    assert answer.reply.text.startswith("535 5.7.8 you said [hidden] and [hidden] and [hidden] and ")
    assert (forms[2] in answer.reply.text) is (mechanism == "login"), "which never sends it so"


@pytest.mark.parametrize("code", [504, 534])
def test_a_mechanism_that_is_not_for_us_is_followed_by_the_next(smtp_server: Start, code: int) -> None:
    replies = {"AUTH CRAM": b"%d no" % code, "AUTH PLAIN": b"%d no" % code}
    server = smtp_server(keywords=["AUTH CRAM-MD5"], credentials=(USER, PASSWORD), replies=replies)
    assert sign_in(server).good
    assert [line.split()[1] for line in server.commands if line.startswith(b"AUTH")] == [b"CRAM-MD5", b"PLAIN", b"LOGIN"]


def test_when_no_mechanism_is_for_us_the_last_no_counts(smtp_server: Start) -> None:
    server = smtp_server(keywords=["AUTH PLAIN LOGIN"], replies={"AUTH": b"504 no"})
    answer = sign_in(server)
    assert answer.reply is not None and answer.reply.code == 504
    assert judge(answer, "host").status.action == "deferred"
    assert len(server.commands) == 3


@pytest.mark.parametrize(
    ("offer", "wanted"),
    [("", "auto"), ("AUTH", "auto"), ("AUTH GSSAPI", "auto"), ("AUTH PLAIN", "login"), ("AUTH=LOGIN", "plain")],
)
def test_no_usable_mechanism_says_what_is_offered_and_no_secret(smtp_server: Start, offer: str, wanted: str) -> None:
    server = smtp_server(keywords=[offer] if offer else [])
    answer = sign_in(server, wanted)
    assert answer.trouble is Trouble.NO_MECHANISM and PASSWORD not in answer.text
    assert len(server.commands) == 1


def test_the_old_form_of_the_offer_counts_in_any_case(smtp_server: Start) -> None:
    server = smtp_server(keywords=["AUTH=LOGIN plain"], on=answering(b"235 ok"))
    assert sign_in(server).good
    assert server.commands[1].startswith(b"AUTH PLAIN ")


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
def test_a_server_that_hangs_up_during_the_sign_in_is_a_lost_connection(smtp_server: Start, end: Action) -> None:
    server = smtp_server(keywords=["AUTH PLAIN"], replies={"AUTH": end})
    with greeted(server) as client, pytest.raises(SessionBroken) as caught:
        client.authenticate(sasl.Account(USER, PASSWORD))
    assert (caught.value.answer.phase, caught.value.answer.trouble) == (Phase.AUTH, Trouble.LOST)


@pytest.mark.parametrize("code", [535, 503, 454])
def test_without_a_yes_there_is_no_mail(smtp_server: Start, certificates: Certificates, code: int) -> None:  # A-134 A-135
    server = smtp_server(certificate=certificates.server, credentials=("me", "x"), replies={"AUTH": b"%d no" % code})
    answer = refusal(
        server, tls="starttls", ca_file=certificates.ca_file, signs_in=True, user="me", secret="hunter2", mechanism="auto"
    )
    assert (answer.phase, answer.reply and answer.reply.code) == (Phase.AUTH, code)
    assert [line.split(b" ")[0] for line in server.commands] == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH", b"QUIT"]
    assert len(server.sessions) == 1


def test_one_sign_in_serves_a_whole_session_and_the_offer_inside_tls_counts(
    smtp_server: Start, certificates: Certificates
) -> None:  # A-122 A-133 A-138
    def on(point: str, argument: bytes, session: Session) -> bytes | None:
        if point == "EHLO":
            mechanism = b"LOGIN" if session.tls else b"PLAIN\r\n250-STARTTLS"
            return b"250-h\r\n250-AUTH " + mechanism + b"\r\n250 PIPELINING"
        return None

    server = smtp_server(certificate=certificates.server, credentials=("me", "hunter2"), on=on)
    session = opened(server, tls="starttls", ca_file=certificates.ca_file, signs_in=True, user="me", secret="hunter2")
    assert "hunter2" not in repr(session) + repr(session.client)
    relay(session, message(), message(), message())
    assert len(server.accepted) == 3
    assert [line for line in server.commands if line.startswith(b"AUTH")] == [b"AUTH LOGIN"]
