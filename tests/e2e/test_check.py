"""`smartrelay check`: each part of the configuration is tried for real, nothing is sent, and what is wrong is said, with what
mends it."""

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartrelay.spool import queue_id
from tests.e2e.commands import HOSTNAME, SMARTRELAY, Machine, Result, relay
from tests.e2e.test_tls_and_signin import assert_secret, quoted, url
from tests.support.certificates import Certificates
from tests.support.dns_server import SILENT
from tests.support.exchangers import Exchangers
from tests.support.process import free_port
from tests.support.smtp_server import Action, ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
PASSWORD = "p\u00e4$$ w\u00f6rd"
AUTH = '{ user = "me", secret = "env:SECRET" }'
SECRET = {"SECRET": PASSWORD}
POSTMASTER = 'postmaster = "admin@d.example"'
CODES = {"ok": 0, "warn": 1, "fail": 2}


def lines(result: Result) -> list[tuple[str, str, str]]:
    """Status, what was tried, and words, of each line."""
    found = []
    for line in result.output.decode().splitlines():
        status, what, words = line.split("\t")
        found.append((status, what, words))
    assert result.code == max(CODES[status] for status, _, _ in found), result
    return found


def check(machine: Machine, *arguments: str, **options: Any) -> list[tuple[str, str, str]]:
    """What is not good."""
    result = machine.run("check", *arguments, **options)
    assert result.errors == ""
    return [line for line in lines(result) if line[0] != "ok"]


def secret_file(machine: Machine, mode: int = 0o600) -> str:
    path = f"{machine.folder}/secret"
    Path(path).write_text(f"{PASSWORD}\n", encoding="utf-8")
    os.chmod(path, mode)
    return path


@pytest.fixture
def furnished(machine: Machine) -> Machine:
    """A machine with a spool, in which a message waits."""
    machine.enqueue(X, *ME, YOU)
    return machine


# All is good.


def test_all_is_good_and_nothing_is_touched(furnished: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """Exit 0; the whole way up to the sign-in and QUIT; the queue and the bad-host memory are as they were."""
    server = smtp_server(certificate=certificates.server, credentials=("me", PASSWORD))
    auth = f'{{ user = "me", secret = "file:{secret_file(furnished)}" }}'
    work = relay(url(server, "smtp+tls"), name='"work"', auth=auth, ca_file=quoted(certificates.ca_file))
    furnished.configure(work, top=POSTMASTER)
    before = {path: content for path, content in furnished.tree().items() if path != "tmp"}
    result = furnished.run("check")
    found = lines(result)
    assert (result.code, result.errors, {status for status, _, _ in found}) == (0, "", {"ok"})
    host = f"work localhost:{server.port}"
    assert [what for _, what, _ in found] == [
        "configuration", "hostname", "domain", "postmaster", "aliases", "spool", "spool", "space", "corrupt", "clock",
        "secret work", f"host {host}", f"certificate {host}",
    ]  # fmt: skip
    told = {what: words for _, what, words in found}
    assert told["hostname"].endswith(HOSTNAME)
    assert told[f"host {host}"].startswith(f"localhost[127.0.0.1]:{server.port}; ESMTP; TLSv1.3 ")
    assert told[f"host {host}"].endswith(", verified; signed in as me; takes 52428800 octets at most")
    verbs = [line.split()[0] for line in server.commands]
    assert verbs == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH", b"QUIT"]
    assert {path: content for path, content in furnished.tree().items() if path != "tmp"} == before
    assert os.listdir(f"{furnished.spool}/tmp") == []


def test_for_programs_it_is_one_document(furnished: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """Members whose names stay; the worst status of all."""
    server = smtp_server(certificate=certificates.server)
    furnished.configure(relay(url(server, "smtp+tls"), name='"work"', ca_file=quoted(certificates.ca_file)), top=POSTMASTER)
    result = furnished.run("check", "--json")
    document = json.loads(result.output)
    assert (result.code, document["status"], set(document)) == (0, "ok", {"status", "time", "findings"})
    assert abs(document["time"] - time.time()) < 60
    for finding in document["findings"]:
        assert set(finding) == {"status", "kind", "relay", "host", "text", "mend", "ends"}
    (certificate,) = [finding for finding in document["findings"] if finding["kind"] == "certificate"]
    assert (certificate["relay"], certificate["host"]) == ("work", f"localhost:{server.port}")
    assert certificate["ends"] > time.time()
    assert [finding["ends"] for finding in document["findings"] if finding["kind"] == "clock"] == [None]


# Hosts.


def one_relay(machine: Machine, server: ScriptedServer, scheme: str, certificates: Certificates) -> None:
    machine.configure(relay(url(server, scheme), name='"work"', auth=AUTH, ca_file=quoted(certificates.ca_file)))


@pytest.mark.parametrize("scheme", ["smtp+tls", "smtps"])
@pytest.mark.parametrize(
    ("wrong", "words", "mend"),
    [
        ("expired", "certificate has expired", "whose server it is has to renew it"),
        ("wrong_name", "certificate refused: Hostname mismatch", "name the host in the relay URL as its certificate does"),
        ("untrusted", "certificate refused: unable to get local issuer", "name the authority that vouches for it in ca_file"),
    ],
)
def test_a_certificate_that_is_refused(
    machine: Machine, smtp_server: Start, certificates: Certificates, scheme: str, wrong: str, words: str, mend: str
) -> None:
    """No password is sent there."""
    server = smtp_server(certificate=getattr(certificates, wrong), implicit_tls=scheme == "smtps", credentials=("me", PASSWORD))
    one_relay(machine, server, scheme, certificates)
    ((status, what, said),) = check(machine, "--relay", "work", env=SECRET)
    assert (status, what) == ("fail", f"host work localhost:{server.port}")
    assert words in said and mend in said
    assert not any(line.startswith(b"AUTH") for line in server.commands)


def test_a_certificate_that_ends_within_a_fortnight_is_a_warning(
    machine: Machine, smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server(certificate=certificates.ending, credentials=("me", PASSWORD))
    one_relay(machine, server, "smtp+tls", certificates)
    ((status, what, said),) = check(machine, "--relay", "work", env=SECRET)
    assert (status, what) == ("warn", f"certificate work localhost:{server.port}")
    assert "ends in 10 days" in said and "has to renew it" in said


@pytest.mark.parametrize(
    ("scheme", "settings", "words", "mend"),
    [
        ("smtp+notls", {"credentials": ("me", "another")}, "signing in: 535 5.7.8 ", "look at user and secret"),
        ("smtp+notls", {"keywords": ("AUTH SCRAM-MAGIC",)}, "no usable sign-in", "is this the port for signing in?"),
        ("smtp+tls", {}, "TLS is required, but the server does not offer STARTTLS", "use the port that has TLS"),
        ("smtps", {}, "TLS hand-shake failed", "STARTTLS is smtp+tls://"),
        (
            "smtp+notls",
            {"replies": {"GREETING": b"554 5.7.1 listed"}},
            "waiting for the greeting: 554 5.7.1 listed",
            "on a list",
        ),
        ("smtp+notls", {"replies": {"EHLO": b"421 4.3.2 later"}}, "sending EHLO: 421 4.3.2 later", "try later"),
        ("smtp+notls", {"replies": {"GREETING": Action.CLOSE}}, "connection lost while waiting for the greeting", "hung up"),
        ("smtp+notls", {"replies": {"GREETING": b"SSH-2.0-x"}}, "no SMTP reply: SSH-2.0-x", "is that a mail server?"),
    ],
    ids=["password", "mechanism", "no TLS", "clear on smtps", "554", "421", "closed", "no SMTP"],
)
def test_a_host_that_does_not_let_us_in(
    machine: Machine,
    smtp_server: Start,
    certificates: Certificates,
    scheme: str,
    settings: dict[str, Any],
    words: str,
    mend: str,
) -> None:
    """An error in the server's own words, and what to do; the password is tried once, and the host is not marked bad."""
    server = smtp_server(**settings)
    one_relay(machine, server, scheme, certificates)
    machine.enqueue(X, *ME, YOU)
    ((status, what, said),) = check(machine, "--relay", "work", env=SECRET)
    assert (status, what) == ("fail", f"host work localhost:{server.port}")
    assert words in said and mend in said
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) <= 1
    assert not os.path.exists(f"{machine.spool}/hosts.json")


def test_a_dead_port(machine: Machine) -> None:
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}", name='"work"'))
    ((status, _, said),) = check(machine, "--relay", "work")
    assert status == "fail"
    assert "connection refused; are host and port right, and does the server run?" in said


def test_a_source_address_that_is_not_ours(machine: Machine, smtp_server: Start) -> None:
    machine.configure(relay(url(smtp_server(), "smtp", "127.0.0.1"), name='"work"', source_address='"192.0.2.9"'))
    ((status, _, said),) = check(machine, "--relay", "work")
    assert status == "fail"
    assert "cannot assign requested address; is source_address one of this machine's?" in said


def test_a_silent_host_costs_the_time_that_it_was_given(machine: Machine, smtp_server: Start) -> None:
    server = smtp_server(replies={"GREETING": Action.SILENCE})
    machine.configure(relay(url(server, "smtp", "127.0.0.1"), name='"work"'))
    began = time.monotonic()
    ((status, _, said),) = check(machine, "--relay", "work", "--timeout", "1s")
    assert status == "fail"
    assert said.startswith("timed out while waiting for the greeting; a port for TLS from the first octet wants smtps://")
    assert time.monotonic() - began < 15


def test_hosts_are_tried_side_by_side(machine: Machine, smtp_server: Start) -> None:
    """Every one is connected to while all the others keep silent: of one rule, and of different rules."""
    servers = [smtp_server() for _ in range(4)]
    gates = [server.gate("GREETING") for server in servers]
    urls = [url(server, "smtp", "127.0.0.1") for server in servers]
    machine.configure(relay(*urls[:2]), relay(*urls[2:], name='"other"'), top=POSTMASTER)
    with machine.start("check", "--timeout", "30s") as running:
        for gate in gates:
            gate.wait_reached()
        for gate in gates:
            gate.open()
        result = running.wait()
    assert result.code == 0
    assert [what for _, what, _ in lines(result) if what.startswith("host ")] == [
        f"host {name} 127.0.0.1:{server.port}" for name, server in zip(["relay1"] * 2 + ["other"] * 2, servers, strict=True)
    ]


def test_one_dead_host_of_a_rule_is_an_error(machine: Machine, smtp_server: Start) -> None:
    """Both stand in the configuration; that the other works is no reason to keep silent."""
    server, port = smtp_server(), free_port()
    machine.configure(relay(f"smtp://127.0.0.1:{port}", url(server, "smtp", "127.0.0.1"), name='"work"'))
    found = lines(machine.run("check", "--relay", "work"))
    assert [(status, what) for status, what, _ in found[1:]] == [
        ("fail", f"host work 127.0.0.1:{port}"),
        ("ok", f"host work 127.0.0.1:{server.port}"),
    ]


def test_an_lmtp_socket_and_plain_smtp(machine: Machine, smtp_server: Start, tmp_path: Path) -> None:
    path = f"{tmp_path}/lmtp"
    smtp_server(lmtp=True, path=path)
    server = smtp_server()
    plain = relay(url(server, "smtp", "127.0.0.1"), name='"plain"', protocol='"smtp"')
    machine.configure(relay(f"lmtp://{path}", name='"local"'), plain)
    (found,) = [words for _, what, words in lines(machine.run("check", "--relay", "local")) if what == f"host local {path}"]
    assert found.startswith(f"{path}; LMTP; in clear; no sign-in")
    (found,) = [words for _, what, words in lines(machine.run("check", "--relay", "plain")) if what.startswith("host ")]
    assert found == f"127.0.0.1[127.0.0.1]:{server.port}; SMTP; in clear; no sign-in"
    assert server.commands == [f"HELO {HOSTNAME}".encode(), b"QUIT"]


def test_a_ca_file_that_cannot_be_used(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    server = smtp_server(certificate=certificates.server)
    machine.configure(relay(url(server, "smtp+tls"), name='"work"', ca_file='"/nonexistent/ca.pem"'))
    ((status, what, said),) = check(machine, "--relay", "work")
    assert (status, what) == ("fail", f"host work localhost:{server.port}")
    assert "cannot use ca_file /nonexistent/ca.pem" in said


# Mail exchangers.


@pytest.fixture
def direct(machine: Machine, exchangers: Exchangers) -> Machine:
    """A machine that sends to mail exchangers, and whose postmaster is at d.example."""
    machine.configure(relay("mx", name='"direct"'), exchangers.table, top=POSTMASTER)
    return machine


def test_of_a_rule_with_mx_the_postmasters_exchangers_are_tried(direct: Machine, exchangers: Exchangers) -> None:
    """One that is down is a warning where another works, and an error where none does."""
    server = exchangers.start("b.example", 2)
    exchangers.zone["c.example"] = ["A 127.0.0.3"]
    exchangers.mx("d.example", "c.example", "b.example")
    found = [line[:2] for line in lines(direct.run("check", "--relay", "direct"))]
    port = exchangers.port
    dns = ("ok", f"dns {exchangers.dns.where}")
    assert found[1:] == [dns, ("warn", f"host direct c.example:{port}"), ("ok", f"host direct b.example:{port}")]
    assert server.commands == [f"EHLO {HOSTNAME}".encode(), b"QUIT"]
    exchangers.mx("d.example", "c.example")
    assert [line[:2] for line in check(direct)] == [("fail", f"host direct c.example:{port}")]


def test_a_postmasters_domain_without_hosts(direct: Machine, exchangers: Exchangers) -> None:
    exchangers.zone["d.example"] = ["MX 0 ."]
    ((status, what, said),) = check(direct, "--relay", "direct")
    assert (status, what) == ("fail", "host direct")
    assert said.startswith("no host for mail to d.example: domain d.example does not accept mail")


def test_without_a_domain_to_ask_for_no_exchanger_is_tried_and_it_is_said(machine: Machine, exchangers: Exchangers) -> None:
    """No postmaster, or mail to them goes by another rule."""
    other = relay(f"smtp://127.0.0.1:{free_port()}", name='"other"', recipient='["*@d.example"]')
    for top, more in (("", ()), (POSTMASTER, (other,))):
        machine.configure(*more, relay("mx", name='"direct"'), exchangers.table, top=top)
        found = lines(machine.run("check", "--relay", "direct"))
        assert [line[:2] for line in found[1:]] == [("ok", f"dns {exchangers.dns.where}"), ("ok", "host direct")]
        assert "`smartrelay route ADDRESS` asks for those of one" in found[-1][2]


def test_a_dns_server_that_does_not_answer(machine: Machine, exchangers: Exchangers) -> None:
    """An error if there is no other, else a warning."""
    dead = f"127.0.0.1:{free_port()}"
    for servers, status in (([dead], "fail"), ([dead, exchangers.dns.where], "warn")):
        machine.configure(relay("mx", name='"direct"'), f"[mx]\nnameservers = {json.dumps(servers)}")
        ((found, what, said),) = check(machine, "--relay", "direct")
        assert (found, what) == (status, f"dns {dead}")
        assert "connection refused" in said and "name others in [mx] nameservers" in said


def test_a_silent_dns_server_costs_the_time_that_it_was_given(machine: Machine, exchangers: Exchangers) -> None:
    exchangers.dns.on = {"*": SILENT}
    machine.configure(relay("mx", name='"direct"'), exchangers.table)
    ((status, what, _),) = check(machine, "--relay", "direct", "--timeout", "1s")
    assert (status, what) == ("fail", f"dns {exchangers.dns.where}")


# Secrets.


@pytest.mark.parametrize(
    ("secret", "more", "status", "words"),
    [
        ("file:/nonexistent/secret", "", "fail", "cannot read the secret /nonexistent/secret: No such file"),
        ("env:NOWHERE", "", "fail", "the environment has no $NOWHERE"),
        ("cmd:exit 3", "", "fail", "the secret's command failed with exit code 3"),
        ("cmd:true", "", "fail", "is empty"),
        ("credential:relay", "", "warn", "it cannot be tried from here; run this in the unit's place: systemd-run"),
        ("file:{file}", "", "fail", "(mode 0644); chmod 600 it"),
        ("file:{file}", ', secret_mode = "any"', "warn", "(mode 0644), which secret_mode allows; chmod 600 "),
        ("sesame", "", "fail", "a secret is a reference such as"),
    ],
    ids=["no file", "env", "cmd", "empty", "credential", "readable", "allowed", "no reference"],
)
def test_a_secret_that_is_not_as_it_should_be(
    machine: Machine, smtp_server: Start, secret: str, more: str, status: str, words: str
) -> None:
    """It is named, and never shown; the host is tried all the same, without signing in."""
    server = smtp_server(credentials=("me", PASSWORD))
    reference = secret.format(file=secret_file(machine, 0o644))
    auth = f'{{ user = "me", secret = "{reference}"{more} }}'
    machine.configure(relay(url(server, "smtp+notls"), name='"work"', auth=auth))
    ((found, what, said),) = check(machine, "--relay", "work")
    assert (found, what) == (status, "secret work")
    assert words in said
    signed_in = "which secret_mode allows" in said
    assert [line.split()[0] for line in server.commands] == [b"EHLO", *([b"AUTH"] if signed_in else []), b"QUIT"]


@pytest.mark.parametrize(
    ("reference", "env"),
    [
        ("file:{file}", {}),
        ("env:SECRET", SECRET),
        ("cmd:cat {file}", {}),
        ("credential:secret", {"CREDENTIALS_DIRECTORY": "{folder}"}),
    ],
    ids=["file", "env", "cmd", "credential"],
)
@pytest.mark.parametrize("arguments", [(), ("--json",), ("-v",)], ids=["text", "json", "dialogue"])
def test_no_secret_is_shown(
    machine: Machine, smtp_server: Start, reference: str, env: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Neither in the clear nor as it goes over the wire, also where the dialogue is shown."""
    server = smtp_server(credentials=("me", PASSWORD))
    file = secret_file(machine)
    env = {key: value.format(folder=machine.folder) for key, value in env.items()}
    auth = f'{{ user = "me", secret = "{reference.format(file=file)}" }}'
    machine.configure(relay(url(server, "smtp+notls"), name='"work"', auth=auth))
    result = machine.run("check", "--relay", "work", *arguments, env=env)
    os.unlink(file)
    assert result.code == 0, result
    assert server.sessions[0].user == "me"
    assert ("C: AUTH PLAIN [hidden]" in result.errors) is ("-v" in arguments)
    assert_secret(PASSWORD, "me", result.output, result.errors, folder=machine.folder)


def test_a_password_in_the_configuration_that_others_can_read(machine: Machine, smtp_server: Start) -> None:
    server = smtp_server(credentials=("me", "sesame"))
    machine.configure(relay(f"smtp+notls://me:sesame@127.0.0.1:{server.port}", name='"work"'))
    os.chmod(machine.config, 0o644)
    result = machine.run("check", "--relay", "work")
    ((status, what, said),) = [line for line in lines(result) if line[0] != "ok"]
    assert (status, what) == ("warn", "secret work")
    assert "the relay URL in it has the password; take it out of the URL" in said
    os.chmod(machine.config, 0o600)
    found = machine.run("check", "--relay", "work")
    assert found.code == 0
    forced = machine.run("check", env={"SMARTRELAY_RELAY": f"smtp+notls://me:sesame@127.0.0.1:{server.port}"})
    assert ("ok", "secret environment", "$SMARTRELAY_RELAY has one") in lines(forced)
    assert "sesame" not in "".join(each.output.decode() + each.errors for each in (result, found, forced))


# The configuration.


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ('hostnam = "x.example"', "hostnam is not a known key; did you mean hostname?"),
        ("relay = 1", "relay must be written [[relay]]"),
        ("= 1", "is not valid TOML"),
    ],
)
def test_a_configuration_that_cannot_be_read(furnished: Machine, top: str, words: str) -> None:
    """An error on a line; the spool, which works without it, is looked at."""
    furnished.configure(top=top)
    found = lines(furnished.run("check"))
    assert [line[:2] for line in found] == [("fail", "configuration"), ("ok", "spool")]
    assert furnished.config in found[0][2] and words in found[0][2]


def test_a_rule_that_makes_no_sense_leaves_the_others(machine: Machine, smtp_server: Start) -> None:
    server = smtp_server()
    machine.configure(relay("http://x", name='"odd"'), relay(url(server, "smtp"), name='"work"'), top=POSTMASTER)
    ((status, what, said),) = check(machine)
    assert (status, what) == ("fail", "relay odd")
    assert "a relay is written smtp+tls://HOST" in said
    assert server.commands[-1] == b"QUIT"


def test_without_a_relay_that_is_a_warning(furnished: Machine) -> None:
    furnished.configure(top=POSTMASTER)
    ((status, what, said),) = check(furnished)
    assert (status, what) == ("warn", "relay")
    assert said == f"no relay is configured, so all mail is kept; add a [[relay]] to {furnished.config}"


@pytest.mark.parametrize(
    ("top", "kinds"),
    [
        ("", ["postmaster"]),
        (POSTMASTER, []),
        ('postmaster = "admin@elsewhere.org"', ["postmaster"]),
    ],
    ids=["none", "good", "no rule"],
)
def test_the_postmaster(machine: Machine, smtp_server: Start, top: str, kinds: list[str]) -> None:
    """There should be one, and a rule for mail to them."""
    server = smtp_server()
    machine.configure(relay(url(server, "smtp"), recipient='["*.example"]'), top=top)
    assert [(status, what) for status, what, _ in check(machine)] == [("warn", kind) for kind in kinds]


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("root: her@d.example, him@d.example\n", "ok", "mail for root goes to her@d.example, him@d.example"),
        ("other: x@d.example\n", "ok", "mail for root goes to admin@d.example"),
        ('root: "|/bin/cat"\n', "fail", "hands mail to a program, which is not done here; write an address"),
    ],
)
def test_who_reads_the_mail_for_root(machine: Machine, text: str, status: str, words: str) -> None:
    """Cron's, say: by the file of aliases, else the postmaster; an alias that cannot be used is an error."""
    Path(machine.folder, "aliases").write_text(text, encoding="ascii")
    machine.configure(top=POSTMASTER)
    ((found, said),) = [(each[0], each[2]) for each in lines(machine.run("check")) if each[1] == "aliases"]
    assert found == status and words in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("box", "this host calls itself box, without a domain"),
        ("localhost.localdomain", "this host calls itself localhost.localdomain, which means nothing to others"),
    ],
)
def test_a_name_that_means_nothing_to_others(machine: Machine, smtp_server: Start, name: str, words: str) -> None:
    server = smtp_server()
    machine.configure(relay(url(server, "smtp")), top=POSTMASTER)
    ((status, what, said),) = check(machine, env={"SMARTRELAY_HOSTNAME": name})
    assert (status, what) == ("warn", "hostname")
    assert said.startswith(words) and 'set hostname = "host.example.org"' in said


def test_one_rule_alone_and_one_that_is_not_there(machine: Machine, smtp_server: Start) -> None:
    good, other = smtp_server(), smtp_server()
    machine.configure(relay(url(good, "smtp"), name='"good"'), relay(url(other, "smtp"), name='"other"'))
    found = lines(machine.run("check", "--relay", "good"))
    assert [what for _, what, _ in found] == ["configuration", f"host good localhost:{good.port}"]
    assert other.sessions == []
    result = machine.run("check", "--relay", "odd")
    assert (result.code, result.output) == (64, b"")
    assert result.errors == f"smartrelay: there is no [[relay]] named 'odd' in {machine.config}; there is good, other\n"
    for span in ("soon", "0s", "99999w"):
        assert machine.run("check", "--timeout", span).code == 64


# The spool.


def spool_findings(machine: Machine) -> list[tuple[str, str, str]]:
    """What is wrong with it; nothing else is."""
    machine.environment["SMARTRELAY_RELAY"] = "lmtp:///nonexistent"
    return [line for line in lines(machine.run("check")) if line[1] in ("spool", "space", "corrupt", "clock")]


def test_a_spool_that_is_not_there_yet(machine: Machine) -> None:
    found = spool_findings(machine)
    assert found == [("ok", "spool", f"{machine.spool} is not there yet; the first message makes it")]
    assert not os.path.exists(machine.spool)
    os.mkdir(machine.spool, 0o700)
    assert spool_findings(machine)[1] == ("ok", "spool", f"{machine.spool} is empty; the first message furnishes it")
    assert os.listdir(machine.spool) == []
    Path(machine.spool, "holiday.jpg").touch()
    ((_, _, said),) = [line for line in spool_findings(machine) if line[0] == "fail"]
    assert "is not a spool of smartrelay: it holds 'holiday.jpg'" in said


def test_what_is_wrong_with_a_spool(furnished: Machine) -> None:
    """Each alone, with what to do; mode and files stay as they are."""

    def wrong() -> list[tuple[str, str, str]]:
        return [line for line in spool_findings(furnished) if line[0] != "ok"]

    assert wrong() == []
    os.chmod(furnished.spool, 0o755)
    ((status, what, said),) = wrong()
    assert (status, what, os.stat(furnished.spool).st_mode & 0o777) == ("warn", "spool", 0o755)
    assert "has mode 0755: others can look into it; chmod 700" in said
    os.chmod(furnished.spool, 0o700)

    Path(furnished.spool, "corrupt", "odd").touch()
    assert wrong() == [
        ("warn", "corrupt", "1 file was set aside as unreadable; "
         f"look into {furnished.spool}/corrupt, and take away what is not needed"),
    ]  # fmt: skip
    os.unlink(f"{furnished.spool}/corrupt/odd")

    os.rmdir(f"{furnished.spool}/hold")
    ((status, what, said),) = [line for line in wrong() if line[0] == "fail"]
    assert said.startswith("it has no hold/; mkdir -m 700")
    os.mkdir(f"{furnished.spool}/hold", 0o700)

    Path(furnished.spool, "format").write_text("7\n", encoding="ascii")
    ((status, what, said),) = wrong()
    assert (status, what, said) == ("fail", "spool", "its format is '7', which this version cannot read; upgrade smartrelay")


def test_too_little_room(furnished: Machine) -> None:
    """Less than min_free_space is an error, for then no mail is taken."""
    Path(furnished.config).write_text('hostname = "client.a.example"\nmin_free_space = "999T"\n', encoding="ascii")
    ((status, what, said),) = [line for line in spool_findings(furnished) if line[0] != "ok"]
    assert (status, what) == ("fail", "space")
    assert "less than min_free_space (1047527424 MiB): new mail is refused" in said
    assert furnished.sendmail(X, *ME, YOU).code == 75


@pytest.mark.parametrize("where", ["new", "cur", "hold", "late"])
def test_messages_from_the_future(furnished: Machine, where: str) -> None:
    """The clock was wrong when they came, or is now."""
    ahead = time.time() + (0 if where == "late" else 7200)
    one = queue_id.new(int(ahead * 1e6), b"12345678")
    name = {"cur": f"{one},n=1", "late": f"{one},n={int(time.time()) + 10 * 86400}"}.get(where, one)
    folder = "cur" if where == "late" else where
    os.rename(furnished.path(furnished.ids()[0]), f"{furnished.spool}/{folder}/{name}")
    ((status, what, said),) = [line for line in spool_findings(furnished) if line[0] != "ok"]
    assert (status, what) == ("warn", "clock")
    assert "1 message of the spool" in said and "set the clock" in said


# Where mail comes in.


def test_the_places_where_mail_comes_in(machine: Machine, smtp_server: Start, tmp_path: Path) -> None:
    """Each that the configuration names is greeted; one that is not there is said, with what opens it."""
    path, port = f"{tmp_path}/submit.sock", free_port()
    server, relayed = smtp_server(), smtp_server()
    listen = f'[submit]\nlisten = ["127.0.0.1:{server.port}", "127.0.0.1:{port}"]'
    machine.configure(relay(url(relayed, "smtp")), listen, top=f'{POSTMASTER}\nsubmit_socket = "{path}"')
    missing, dead = check(machine)
    assert missing[:2] == ("warn", f"submission {path}")
    assert "only root and the spool's owner can send mail; start smartrelay-submit.socket" in missing[2]
    assert dead[:2] == ("fail", f"submission 127.0.0.1:{port}")
    assert "connection refused" in dead[2]
    smtp_server(path=path)
    assert [line[1] for line in check(machine)] == [f"submission 127.0.0.1:{port}"]
    assert {line.split()[0] for line in server.commands} == {b"EHLO", b"QUIT"}


# For people.


def shown(machine: Machine, columns: int, **env: str) -> str:
    """What `check` writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    try:
        # Nobody reads while it runs: a terminal holds 4 KiB, more than this.
        done = subprocess.run(
            [SMARTRELAY, "check", "--relay", "work"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**machine.environment, "TERM": "xterm", "COLUMNS": str(columns), **env},
            check=False,
        )
        assert (done.returncode, done.stderr) == (2, b"")
        return os.read(ours, 1 << 16).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("columns", [60, 160])
def test_on_a_terminal_it_fits_and_says_how_much_is_wrong(machine: Machine, columns: int) -> None:
    """Colours mean something, and NO_COLOR is honoured; what to do is in a line of its own."""
    machine.configure(relay(f"smtp://127.0.0.1:{free_port()}", name='"work"'))
    plain = shown(machine, columns, NO_COLOR="1")
    assert "\x1b[3" not in plain
    text = re.sub(r"\x1b\[[0-9;]*m", "", plain)
    assert max(map(len, text.splitlines())) <= columns
    assert text.splitlines()[-1] == "1 error; 1 of 2 are good."
    assert "connection refused; are" not in " ".join(text.split())
    assert "are host and port right" in " ".join(text.split())
    assert "\x1b[1;31mfail\x1b[0m" in shown(machine, columns)
