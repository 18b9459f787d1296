"""The settings that enqueueing reads: a scanner that agrees with TOML, and a configuration that never stops mail."""

import os
import pwd
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay import settings
from smartrelay.errors import EX_CONFIG, ConfigError
from smartrelay.settings import parse_size, top_level
from tests.support.queues import many

SPOOL = 'spool = "/s"\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`settings` reads the environment without `os`: as bytes, straight from the process's start."""
    import posix

    clean = {b"HOME": os.fsencode(tmp_path), b"PATH": b"/usr/bin"}
    monkeypatch.setattr(posix, "environ", clean)


def setenv(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    import posix

    for name, value in values.items():
        monkeypatch.setitem(posix.environ, name.encode(), os.fsencode(value))


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "smartrelay.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return str(path)


# The scanner against tomllib

VALUES = st.sampled_from(
    [
        '"text"',
        "'text'",
        '"with # in it"',
        '"a\\tb"',
        '"caf\\u00e9"',
        "'c:\\x'",
        '""',
        "''",
        '"é"',
        '"\ttab"',
        "0",
        "7",
        "0007",
        "+5",
        "-3",
        "1_000",
        "0x1F",
        "0b1",
        "99999999999999999999",
        "1.5",
        "1e3",
        "inf",
        "nan",
        "true",
        "false",
        "True",
        "2026-01-02",
        "07:32:00",
        "[1, 2]",
        '["a",\n "b"]',
        "[\n]",
        "{ a = 1 }",
        "{}",
        '"open',
        "'",
        "",
        '"""x"""',
        '"""\nspool = "/no"\n[[relay]]\n"""',
        "'''a\n[b]'''",
        '"a" "b"',
        "tru",
        "1 2",
        '"a"b',
        '"\x00"',
        '"\x7f"',
    ]
)
KEYS = st.sampled_from(
    [
        "spool",
        "hostname",
        "domain",
        "max_recipients",
        "x-y",
        "1",
        '"spool"',
        "'quoted key'",
        "a.b",
        '"a\\u0062"',
        "é",
        "",
        "a b",
        "-",
    ]
)
TAILS = st.sampled_from(["", " # a comment", "#c", "\r", " \t", " \x0b"])
GAPS = st.sampled_from(["", " ", "\t"])
LINES = st.one_of(
    st.builds(lambda key, gap, value, tail: f"{key}{gap}={gap}{value}{tail}", KEYS, GAPS, VALUES, TAILS),
    st.sampled_from(["", "   ", "# only a comment", "[queue]", "[[relay]]", "[queue", "garbage", "\ufeff", "\x0c", "= 1"]),
    st.just("[a]\nspool=1"),
)


@many
@given(st.lists(LINES, max_size=6).map("\n".join))
@example('x = """\n[a]\nspool = "/no"\n"""\nspool = "/yes"')
@example("a = 0\na = 1")
@example("a = " + "9" * 5000)
def test_scanner_and_fall_back_together_give_what_toml_says(text: str) -> None:
    """For valid TOML: all top-level scalars that the scanner sees, and none with another value."""
    try:
        table = tomllib.loads(text)
    except ValueError:
        top_level(text)  # anything but an exception
        return
    found, damaged = top_level(text)
    scalars = {key: value for key, value in table.items() if isinstance(value, str | int)}
    assert {key: (value, type(value)) for key, value in found.items()} == {
        key: (value, type(value)) for key, value in scalars.items()
    }
    assert damaged <= set(table) - set(scalars)


@many
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda octets: octets.decode("latin-1")))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    found, damaged = top_level(text)
    assert all(isinstance(value, str | int) for value in found.values())
    assert isinstance(damaged, set)


def test_a_mistake_below_the_first_table_is_not_even_seen() -> None:
    assert top_level('hostname = "h.x"\n[[relay]\nhosts = broken') == ({"hostname": "h.x"}, set())


# A broken configuration


def test_mail_is_queued_whatever_is_wrong_with_other_settings(tmp_path: Path) -> None:  # D-112
    text = SPOOL + (
        'hostname = 5\ndomain = "not a domain"\nmax_message_size = "huge"\nmax_recipients = true\nmin_free_space = -1\n'
        "unknown = [1,\nfrob"
    )
    found = settings.load(written(tmp_path, text))
    assert found.spool == "/s"
    assert found.hostname == (settings.node_name() if settings.is_domain(settings.node_name()) else "localhost")
    assert found.domain == settings.domain_of_host(found.hostname)
    assert (found.max_message_size, found.max_recipients, found.min_free_space) == (50 << 20, 10000, 100 << 20)


@pytest.mark.parametrize(
    "text",
    [
        "spool = 5",
        "spool = true",
        'spool = "unclosed',
        "spool",
        'spool "/s"',
        'spool: "/s"',
        'Spool - "/s"',
        '\ufeffspool = "/s"\n',  # a byte order mark is no TOML
        'spool = ["/s"]',
        'spool = "relative/path"',
        'spool = "/a"\nspool = "/b"\n',
        "spool = \x00",
    ],
)
def test_a_spool_that_cannot_be_known_is_refused(tmp_path: Path, text: str) -> None:  # D-112
    """Mail in a spool that nobody meant is mail that nobody finds."""
    with pytest.raises(ConfigError) as caught:
        settings.load(written(tmp_path, text))
    assert caught.value.exit_code == EX_CONFIG
    assert "smartrelay.toml" in str(caught.value) and "spool" in str(caught.value)


def test_a_spool_that_is_named_needs_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = written(tmp_path, "spool = 5")
    for config in (broken, str(tmp_path / "absent.toml"), str(tmp_path)):
        found = settings.load(config, "/named")
        assert (found.spool, found.direct) == ("/named", True)
    setenv(monkeypatch, SMARTRELAY_SPOOL="/from/environment")
    assert settings.load(broken).spool == "/from/environment"
    assert settings.load(broken, "/named").spool == "/named"


def test_a_named_configuration_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        settings.load(str(tmp_path / "absent.toml"))
    setenv(monkeypatch, SMARTRELAY_CONFIG=str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        settings.load()


def test_octets_that_are_no_utf8_stop_nothing(tmp_path: Path) -> None:
    assert settings.load(written(tmp_path, b'# \xff\nspool = "/s"\nhostname = "h\xff.x"\n')).spool == "/s"


# Values


def test_the_settings_are_taken_as_written(tmp_path: Path) -> None:
    text = SPOOL + (
        'hostname = "h.example.org"\ndomain = "d.example"\nmax_message_size = "2M"\nmax_recipients = 7\nmin_free_space = 0\n'
    )
    found = settings.load(written(tmp_path, text + "[queue]\n"))
    assert (found.hostname, found.domain, found.spool) == ("h.example.org", "d.example", "/s")
    assert (found.max_message_size, found.max_recipients, found.min_free_space) == (2 << 20, 7, 0)


def test_who_may_not_write_to_the_systems_spool_has_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load(written(tmp_path, SPOOL)).submit_socket == "/run/smartrelay/submit.sock"
    found = settings.load(written(tmp_path, SPOOL + 'submit_socket = "/run/s"\nsubmit_rate = "5/m"\n'))
    assert (found.submit_socket, found.submit_rate) == ("/run/s", "5/m")
    setenv(monkeypatch, SMARTRELAY_SPOOL="/own")
    assert settings.load(written(tmp_path, "")).submit_socket == "", "another's socket leads to another spool"


def test_the_domain_is_that_of_the_host(tmp_path: Path) -> None:
    assert settings.load(written(tmp_path, SPOOL + 'hostname = "h.example.org"')).domain == "example.org"
    assert settings.load(written(tmp_path, SPOOL + 'hostname = "h"')).domain == "h"


def test_the_environment_stands_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, SMARTRELAY_HOSTNAME="env.example.org")
    assert settings.load(written(tmp_path, SPOOL + 'hostname = "h.x"')).hostname == "env.example.org"
    setenv(monkeypatch, SMARTRELAY_HOSTNAME="not a name")
    assert settings.load(written(tmp_path, SPOOL + 'hostname = "h.x"')).hostname == "h.x"


@pytest.mark.parametrize(
    "name", ["", "(none)", "a b", "a..b", ".a", "a.", "a>b", "a\nb", "a\u2028b", "x" * 256, "[1.2.3.4]", "a@b"]
)
def test_what_would_spoil_addresses_and_headers_is_no_host_name(name: str) -> None:
    assert not settings.is_domain(name)


def test_the_node_name_is_completed_from_the_hosts_file_and_never_by_dns() -> None:
    node = os.uname().nodename
    assert settings.node_name().partition(".")[0] == node.partition(".")[0]


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("17", 17), ("1K", 1024), ("50M", 50 << 20), ("50mb", 50 << 20), (" 2 G ", 2 << 30), ("1T", 1 << 40), ("8B", 8)],
)
def test_a_size_in_powers_of_1024(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "M", "B", "-1", "1.5M", "1KM", "1 M 2", "1X", "ten", "0x10", "1e3"])
def test_what_is_no_size_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="50M"):
        parse_size(text)


# Where the configuration is


def test_the_order_in_which_a_configuration_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, $SMARTRELAY_CONFIG, the user's own (not for root), the system's (design 2.3)."""
    root = os.geteuid() == 0
    assert settings.find("") == (settings.SYSTEM_FILE, False)
    own = tmp_path / ".config/smartrelay/smartrelay.toml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert settings.find("") == ((settings.SYSTEM_FILE, False) if root else (str(own), True))
    xdg = tmp_path / "xdg/smartrelay/smartrelay.toml"
    xdg.parent.mkdir(parents=True)
    xdg.write_text("")
    setenv(monkeypatch, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert settings.find("") == ((settings.SYSTEM_FILE, False) if root else (str(xdg), True))
    setenv(monkeypatch, SMARTRELAY_CONFIG="/env.toml")
    assert settings.find("") == ("/env.toml", not root)
    assert settings.find("/option.toml") == ("/option.toml", not root)
    assert settings.find(settings.SYSTEM_FILE) == (settings.SYSTEM_FILE, False)


def test_a_users_own_spool_is_in_their_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.default_spool(False) == settings.SYSTEM_SPOOL
    assert settings.default_spool(True) == f"{tmp_path}/.local/state/smartrelay"
    setenv(monkeypatch, XDG_STATE_HOME="/state")
    assert settings.default_spool(True) == "/state/smartrelay"


def test_a_status_file_is_that_of_a_usual_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the system's or a user's own; a pass over any other spool must not overwrite those (design 2.3)."""
    own = f"{tmp_path}/.config/smartrelay/smartrelay.toml"
    uid = os.geteuid()
    assert settings.default_status(settings.SYSTEM_FILE) == "/run/smartrelay/status.json"
    assert settings.default_status("/another.toml") == ""
    assert settings.default_status(own) == ("" if uid == 0 else f"/run/user/{uid}/smartrelay/status.json")
    for one in ("posix.getuid", "posix.geteuid"):  # both, or the environment is another's
        monkeypatch.setattr(one, lambda: 1234)
    assert settings.default_status(own) == "/run/user/1234/smartrelay/status.json"
    setenv(monkeypatch, XDG_RUNTIME_DIR="/run/mine")
    assert settings.default_status(own) == "/run/mine/smartrelay/status.json"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SPOOL, ""),
        (f'{SPOOL}status_file = "/there/status.json"\n', "/there/status.json"),
        (f'{SPOOL}status_file = "not/there"\n', ""),
        (f'{SPOOL}status_file = ""\n', ""),
        (f"{SPOOL}status_file = 5\n", ""),
        (f'{SPOOL}[queue]\nstatus_file = "/there/status.json"\n', ""),
    ],
)
def test_a_status_file_is_taken_as_written_or_not_at_all(tmp_path: Path, text: str, found: str) -> None:
    assert settings.load(written(tmp_path, text)).status_file == found


def test_a_spool_that_is_named_has_the_status_file_that_is_configured_or_none(tmp_path: Path) -> None:
    named = written(tmp_path, 'status_file = "/there/status.json"\n')
    assert settings.load(named, "/another").status_file == "/there/status.json"
    assert settings.load("", "/another").status_file == ""


def test_a_missing_home_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:  # D-087
    setenv(monkeypatch, HOME="")
    assert settings.default_spool(True) == f"{pwd.getpwuid(os.geteuid()).pw_dir}/.local/state/smartrelay"
