"""The configuration, read strictly: whatever is wrong, one sentence names file, key and what would be right."""

import os
from pathlib import Path

import pytest

from smartrelay import config
from smartrelay.config import AlertCommand, Config, Limits, Timeouts
from smartrelay.errors import EX_CONFIG, ConfigError
from smartrelay.values import Rate

RELAY = '[[relay]]\nname = "work"\nhosts = ["smtps://h.example"]\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SMARTRELAY_")]:
        monkeypatch.delenv(name)


def load(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "smartrelay.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return config.load(str(path), str(tmp_path / "spool"))


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == EX_CONFIG
    assert "smartrelay.toml" in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    found = load(tmp_path, "")
    assert not found.relays
    assert list(found.retry) == [60, 300, 900, 1800, 3600, 7200, 10800]  # C-003 C-004
    assert found.limits == Limits(max_connections=20, max_connections_per_host=20, max_messages_per_connection=100)
    assert (found.max_message_size, found.max_recipients, found.min_free_space) == (50 << 20, 10000, 100 << 20)


def test_the_default_time_limits_are_not_below_the_standards(tmp_path: Path) -> None:  # A-081 A-084
    found = load(tmp_path, "").timeouts
    assert (found.greeting, found.command, found.data, found.data_block, found.data_end) == (300, 300, 120, 180, 600)
    assert (found.lookup, found.connect, found.quit) == (30, 30, 10)


def test_every_setting_is_taken_as_written(tmp_path: Path) -> None:
    text = """
        hostname = "h.example.org"
        domain = "example.org"
        spool = "/elsewhere"
        max_message_size = "1M"
        max_recipients = 5
        min_free_space = 17
        [[relay]]
        name = "work"
        sender = ["*@Example.org"]
        recipient = ["*@a.example", "b@b.example"]
        hosts = ["smtp+tls://one.example", "smtps://two.example:4650"]
        auth = { user = "me", secret = "env:X", mechanism = "login", secret_mode = "any" }
        ca_file = "/ca.pem"
        protocol = "smtp"
        [[relay]]
        hosts = ["smtp://three.example"]
        [queue]
        retry = ["1m", "2h"]
        [limits]
        max_connections = 3
        [timeouts]
        command = "90s"
        data_end = "1h30m"
    """
    found = load(tmp_path, text)
    work, other = found.relays
    assert work.hosts == (("smtp+tls://one.example",), ("smtps://two.example:4650",))
    assert (work.sender, work.recipient) == (("*@example.org",), ("*@a.example", "b@b.example"))
    assert work.auth == config.Auth("me", "env:X", "login", any_mode=True)
    assert (work.ca_file, work.protocol, work.name) == ("/ca.pem", "smtp", "work")
    assert (other.name, other.sender, other.recipient, other.auth) == ("relay2", ("*",), ("*",), None)
    assert found.spool == str(tmp_path / "spool")  # --spool stands over the file
    assert list(found.retry) == [60, 7200]
    assert found.limits == Limits()._replace(max_connections=3)
    assert found.timeouts == Timeouts()._replace(command=90, data_end=5400)
    assert (found.hostname, found.domain, found.max_recipients) == ("h.example.org", "example.org", 5)
    assert (found.max_message_size, found.min_free_space) == (1 << 20, 17)


@pytest.mark.parametrize(
    ("text", "key", "right"),
    [
        ('hostnam = "h.x"', "hostnam", "did you mean hostname?"),
        ("frobnicate = 1", "frobnicate", "known are"),
        ("[limit]\nmax_connections = 1", "limit", "did you mean limits?"),
        ('[[relay]]\nhost = ["smtps://h"]', "host", "did you mean hosts?"),
        ("[limits]\nmax_conections = 1", "max_conections", "did you mean max_connections?"),
        ('[timeouts]\ndata_blok = "1s"', "data_blok", "did you mean data_block?"),
        ('[queue]\nretri = ["1s"]', "retri", "did you mean retry?"),
        ('[[relay]]\nhosts = ["smtps://h"]\nauth = { usr = "me" }', "auth.usr", "did you mean user?"),
        ('Hostname = "h.x"', "Hostname", "did you mean hostname?"),
        (RELAY + 'postmaster = "a@b.example"', "postmaster", "it belongs above the first table"),
        ('lifetime = "1d"', "lifetime", "it belongs in [queue]"),
        ('[queue]\nrate = "1/s"', "[queue] rate", "it belongs in [limits]"),
        (RELAY + 'user = "me"', "user", "it belongs in auth of a [[relay]]"),
        ('hosts = ["mx"]', "hosts", "it belongs in [[relay]]"),
        (RELAY + 'client_key = "/key.pem"', "client_key", "client_certificate, which is missing"),
        ('[queue]\nretry = "1m"', "retry", '["5m"]'),
        ('[submit]\nlisten = "127.0.0.1:25"', "listen", '["127.0.0.1:25"]'),
        ('[mx]\nnameservers = "192.0.2.1"', "nameservers", '["192.0.2.1"]'),
        ("hostname = 5", "hostname", "string"),
        ('hostname = "a b"', "hostname", "host or domain name"),
        ('hostname = "(none)"', "hostname", "host or domain name"),
        ('domain = "a@b"', "domain", "host or domain name"),
        ('domain = ""', "domain", "host or domain name"),
        ('spool = "relative"', "spool", "absolute path"),
        ("spool = 5", "spool", "string"),
        ('max_message_size = "much"', "max_message_size", "50M"),
        ("max_message_size = -1", "max_message_size", "50M"),
        ("max_message_size = 1.5", "max_message_size", "50M"),
        ("max_message_size = true", "max_message_size", "50M"),
        ("min_free_space = []", "min_free_space", "50M"),
        ("max_recipients = 0", "max_recipients", "at least 1"),
        ("max_recipients = true", "max_recipients", "at least 1"),
        ('max_recipients = "5"', "max_recipients", "at least 1"),
        ("relay = 5", "relay", "[[relay]]"),
        ('[relay]\nhosts = ["smtps://h"]', "relay", "two brackets"),
        ("relay = [1]", "relay", "[[relay]]"),
        ("[[relay]]\nname = 'x'", "hosts", "is missing"),
        ("[[relay]]\nhosts = []", "hosts", "list of strings"),
        ('[[relay]]\nhosts = "smtps://h"', "hosts", "list of strings"),
        ("[[relay]]\nhosts = [5]", "hosts", "or of lists of equals"),
        ("[[relay]]\nhosts = [[]]", "hosts", "or of lists of equals"),
        ('[[relay]]\nhosts = [[["smtps://h"]]]', "hosts", "or of lists of equals"),
        (RELAY + 'sender = "*"', "sender", "list of strings"),
        (RELAY + "recipient = [[]]", "recipient", "string"),
        (RELAY + 'auth = "me"', "auth", "user ="),
        (RELAY + 'auth = { user = "me" }', "auth.secret", "is missing"),
        (RELAY + 'auth = { secret = "env:X" }', "auth.user", "is missing"),
        (RELAY + 'auth = { user = "me", secret = "env:X", mechanism = "ntlm" }', "auth.mechanism", "auto, plain, login"),
        (RELAY + 'auth = { user = "me", secret = "env:X", secret_mode = 1 }', "auth.secret_mode", "owner, any"),
        (RELAY + 'ca_file = "ca.pem"', "ca_file", "absolute path"),
        (RELAY + 'protocol = "lmtp"', "protocol", "esmtp, smtp"),
        ("queue = 5", "queue", "[queue]"),
        ("limits = []", "limits", "[limits]"),
        ("[queue]\nretry = []", "retry", "list of strings"),
        ('[queue]\nretry = ["0s"]', "retry", "1s"),
        ('[queue]\nretry = ["soon"]', "retry", "30s"),
        ("[queue]\nretry = [60]", "retry", "string"),
        ("[limits]\nmax_connections = 0", "max_connections", "at least 1"),
        ('[limits]\nmax_messages_per_connection = "1"', "max_messages_per_connection", "at least 1"),
        ("[limits]\nrate = 500", "[limits] rate", "500/h"),
        (RELAY + 'rate = "500"', "rate", "500/h"),
        (RELAY + 'rate = "0/h"', "rate", "500/h"),
        (RELAY + 'rate = "-5/h"', "rate", "500/h"),
        (RELAY + 'rate = "5/0s"', "rate", "from 1s to 52w"),
        (RELAY + 'rate = "5/53w"', "rate", "from 1s to 52w"),
        (RELAY + 'rate = "5/fortnight"', "rate", "10/m"),
        (RELAY + 'rate = "5/"', "rate", "10/m"),
        (RELAY + 'rate = "1000000000000/h"', "rate", "500/h"),
        (RELAY + 'rate = ["5/h"]', "rate", 'or "none"'),
        ("[timeouts]\ncommand = 30", "command", "30s"),
        ('[timeouts]\ngreeting = "soon"', "greeting", "30s"),
        ('[timeouts]\ngreeting = "0s"', "greeting", "1s"),
        ('[timeouts]\ngreeting = "99999999999999w"', "greeting", "52w"),
        ('[queue]\nretry = ["99999999999999w"]', "retry", "52w"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_right(tmp_path: Path, text: str, key: str, right: str) -> None:
    sentence = refused(tmp_path, text)
    assert key in sentence and right in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500/h", Rate(500, 3600)),
        ("10/m", Rate(10, 60)),
        ("5/s", Rate(5, 1)),
        ("2000/d", Rate(2000, 86400)),
        ("20/30s", Rate(20, 30)),
        ("100/1h30m", Rate(100, 5400)),
        ("none", None),
    ],
)
def test_a_rate_is_a_number_of_messages_in_a_time(tmp_path: Path, text: str, rate: Rate | None) -> None:
    found = load(tmp_path, f'[limits]\nrate = "{text}"\n{RELAY}rate = "{text}"')
    assert (found.limits.rate, found.relays[0].rate) == (rate, rate)


@pytest.mark.parametrize(
    "text", ["hostname =", "a = 1\na = 2", b'spool = "\xff"', "x = " + "[" * 5000, "x = " + "9" * 5000, "\x00", "\ufeffa = 1"]
)
def test_what_is_no_toml_is_said_so(tmp_path: Path, text: str | bytes) -> None:
    assert "not valid TOML" in refused(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        '[[relay]]\nhosts = "smtps://me:hunter2@h.example"',
        '[[relay]]\nhosts = ["smtps://me:hunter2\\u0000@h.example"]',
        '[[relay]]\nhosts = [[["smtps://me:hunter2@h.example"]]]',
        RELAY + 'auth = { user = "me", secret = "hunter2\\t" }',
        RELAY + 'auth = { user = "me", secret = ["hunter2"] }',
        RELAY + 'auth = "me:hunter2"',
    ],
)
def test_no_sentence_repeats_a_password(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in refused(tmp_path, text)


def test_a_relay_from_the_environment_stands_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTRELAY_RELAY", "smtps://me:pw@env.example")
    (relay,) = load(tmp_path, RELAY).relays
    assert (relay.hosts, relay.sender, relay.recipient) == ((("smtps://me:pw@env.example",),), ("*",), ("*",))
    assert relay.where == "$SMARTRELAY_RELAY"
    monkeypatch.setenv("SMARTRELAY_RELAY", "")
    assert [relay.name for relay in load(tmp_path, RELAY).relays] == ["work"]


def test_a_named_configuration_must_be_there_and_a_default_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration .*absent\.toml"):
        config.load(str(tmp_path / "absent.toml"), str(tmp_path))
    with pytest.raises(ConfigError, match="cannot read"):
        config.load(str(tmp_path), str(tmp_path))


def test_the_horizon_leaves_room_for_every_step(tmp_path: Path) -> None:
    """No next attempt is ever set beyond it, or each pass would take it for a clock's mistake."""
    assert load(tmp_path, "").horizon == 86400
    assert load(tmp_path, '[queue]\nretry = ["1m", "3d"]').horizon == 6 * 86400


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(500, 3600), "500/h"),
        (Rate(20, 30), "20/30s"),
        (Rate(1, 1), "1/s"),
        (Rate(100, 5400), "100/90m"),
        (Rate(7, 604800), "7/w"),
        (Rate(3, 864000), "3/10d"),
    ],
)
def test_a_rate_is_shown_as_it_is_written(rate: Rate, text: str) -> None:
    assert str(rate) == text


def test_ports_to_listen_at_are_addresses_with_ports(tmp_path: Path) -> None:
    found = load(tmp_path, '[submit]\nlisten = ["127.0.0.1:25", "[::1]:587"]\n')
    assert found.submit.listen == (("127.0.0.1", 25), ("::1", 587))
    assert load(tmp_path, "").submit.listen == load(tmp_path, "[submit]\nlisten = []\n").submit.listen == ()


@pytest.mark.parametrize(
    "value", ['["127.0.0.1"]', '["localhost:25"]', '["127.0.0.1:0"]', '["::1:25"]', '["127.0.0.1:x"]', '"x"']
)
def test_what_cannot_be_listened_at_is_said(tmp_path: Path, value: str) -> None:
    assert "[submit] listen must be" in refused(tmp_path, f"[submit]\nlisten = {value}\n")


def test_what_one_user_may_send_is_a_rate(tmp_path: Path) -> None:
    load(tmp_path, 'submit_rate = "500/h"\nsubmit_socket = "/run/s"\n')
    assert "submit_rate must be" in refused(tmp_path, 'submit_rate = "much"\n')
    assert "submit_socket must be" in refused(tmp_path, 'submit_socket = "run/s"\n')


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('["page", "two words", ""]', ("page", "two words", "")),
        ("\"page 'two words' $HOME\"", ("page", "two words", "$HOME")),
        ('["/bin/sh", "-c", "cat\\nexit 1"]', ("/bin/sh", "-c", "cat\nexit 1")),
    ],
)
def test_an_alert_command_is_words(tmp_path: Path, written: str, words: tuple[str, ...]) -> None:
    """No shell unless asked."""
    assert load(tmp_path, f"[alert]\ncommand = {written}\n").alert == AlertCommand(words, 4 * 3600.0)
    assert load(tmp_path, f'[alert]\ncommand = {written}\nafter = "90m"\n').alert == AlertCommand(words, 5400.0)


def test_there_is_no_alert_unless_one_is_set(tmp_path: Path) -> None:
    assert load(tmp_path, "").alert is None


def test_a_status_file_is_outside_the_spool_or_nowhere(tmp_path: Path) -> None:
    assert load(tmp_path, 'status_file = ""\n').status_file == ""
    inside = f"{tmp_path}/spool/var/status.json"
    assert "status_file must be outside the spool" in refused(tmp_path, f'status_file = "{inside}"\n')
    assert "status_file must be an absolute path" in refused(tmp_path, 'status_file = "status.json"\n')


def test_octets_that_are_no_utf8_are_found_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b'hostname = "h.example.org"\n# M\xfcller\n')
    with pytest.raises(ConfigError, match=r"latin\.toml is not valid TOML: it is not in UTF-8 \(at line 2\)"):
        config.load(str(file), str(tmp_path / "spool"))
