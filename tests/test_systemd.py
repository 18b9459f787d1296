"""The systemd files: what `setup` renders is what systemd accepts, and closed to all that a pass does not need."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from smartrelay.settings import SYSTEM_STATUS

COMMAND = f"{os.path.dirname(sys.executable)}/smartrelay"
CONTRIB = Path(__file__).parent.parent / "contrib/systemd"
UNITS = ("smartrelay-flush.service", "smartrelay-flush.timer", "smartrelay-flush.path")
DOORS = ("submit", "smtp")
SOURCES = sorted(str(path.relative_to(CONTRIB)) for path in CONTRIB.rglob("smartrelay*") if path.is_file())


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def rendered(tmp_path: Path, *arguments: str) -> Path:
    """The root of an installation."""
    done = run(COMMAND, "setup", "--root", tmp_path, "--yes", *arguments)
    assert done.returncode == 0, done.stderr
    return tmp_path


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize(
    "arguments",
    [[], ["--spool", "/srv/mail queue 100%", "--config", "/srv/mail relay/100%.toml"]],
    ids=["plain", "odd"],
)
def test_verify_finds_nothing_to_say(tmp_path: Path, arguments: list[str]) -> None:
    """Unknown keys, bad values, a command that is not there, man pages that are missing: verify would name each."""
    root = rendered(tmp_path, *arguments)
    doors = [f"smartrelay-{door}.{kind}" for door in DOORS for kind in ("socket", "service")]
    units = [root / "etc/systemd/system" / name for name in (*UNITS, *doors)]
    for each in units:  # the stub is below the scratch root for us
        each.write_text(each.read_text().replace('"/usr/local/lib/', f'"{root}/usr/local/lib/'))
    done = run("systemd-analyze", "verify", *units, MANPATH=f"{root}/usr/local/share/man")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_verify_finds_nothing_to_say_of_a_users_units(tmp_path: Path) -> None:
    done = run(COMMAND, "setup", "--user", "--yes", HOME=str(tmp_path), XDG_CONFIG_HOME="", XDG_DATA_HOME="", XDG_STATE_HOME="")
    assert done.returncode == 0, done.stderr
    units = [tmp_path / ".config/systemd/user" / name for name in UNITS]
    (tmp_path / "runtime").mkdir(mode=0o700)
    done = run(
        "systemd-analyze",
        "--user",
        "verify",
        *units,
        MANPATH=f"{tmp_path}/.local/share/man",
        XDG_RUNTIME_DIR=f"{tmp_path}/runtime",
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_exposure_of_the_service_is_at_most_one_and_a_half(tmp_path: Path) -> None:
    folder = rendered(tmp_path) / "etc/systemd/system"
    for name in ("flush", *DOORS):
        service = folder / f"smartrelay-{name}.service"
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", service)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("door", DOORS)
def test_one_process_serves_all_and_no_flood_closes_the_door(tmp_path: Path, door: str) -> None:  # F-053
    folder = rendered(tmp_path) / "etc/systemd/system"
    socket, service = unit(folder / f"smartrelay-{door}.socket"), unit(folder / f"smartrelay-{door}.service")
    assert (socket["Socket"]["Accept"], socket["Socket"]["TriggerLimitIntervalSec"]) == ("no", "0")
    assert service["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["Service"]["User"] == "smartrelay"
    assert service["Service"]["ExecStart"].endswith(" -bs")
    assert "PrivateUsers" not in service["Service"], "the kernel would call every caller nobody"
    assert "RestrictAddressFamilies" in service["Service"]


def test_every_user_may_come_to_the_socket_of_the_sendmail_command(tmp_path: Path) -> None:
    socket = unit(rendered(tmp_path) / "etc/systemd/system/smartrelay-submit.socket")
    assert socket["Socket"]["ListenStream"] == "/run/smartrelay/submit.sock"
    assert socket["Socket"]["SocketMode"] == "0666"


@pytest.mark.parametrize("name", SOURCES)
def test_every_placeholder_is_one_that_setup_fills(name: str) -> None:
    found = set(re.findall(r"@[A-Z_]+@", (CONTRIB / name).read_text()))
    assert found <= {"@SMARTRELAY@", "@SENDMAIL@", "@CONFIG@", "@SPOOL@", "@SOCKET@"}


def test_no_placeholder_is_left_in_what_is_installed(tmp_path: Path) -> None:
    root = rendered(tmp_path)
    files = [path for path in (root / "etc").rglob("*") if path.is_file()]
    assert len(files) == 11
    assert not [path for path in files if re.search(r"@[A-Z_]+@", "".join(
        line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")
    ))]  # fmt: skip


def test_what_passes_tell_everyone_has_a_place_that_no_pass_takes_away(tmp_path: Path) -> None:
    """A oneshot's RuntimeDirectory= goes when the pass ends, and the submission socket beside it would go too."""
    root = rendered(tmp_path)
    service = unit(root / "etc/systemd/system" / UNITS[0])
    folder = os.path.dirname(SYSTEM_STATUS)
    assert "RuntimeDirectory" not in service["Service"]
    assert f'"-{folder}"' in service["Service"]["ReadWritePaths"]
    assert f"d {folder} 0755 smartrelay smartrelay -" in (root / "etc/tmpfiles.d/smartrelay.conf").read_text()


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("smartrelay-") and name.endswith(".service")])
def test_every_service_may_write_where_the_manual_puts_the_log(name: str) -> None:
    """smartrelay.toml(5): below that directory only."""
    assert '"-/var/log/smartrelay"' in unit(CONTRIB / name)["Service"]["ReadWritePaths"].split()


def test_new_mail_starts_a_pass_and_nothing_limits_how_often(tmp_path: Path) -> None:
    folder = rendered(tmp_path) / "etc/systemd/system"
    path, service = unit(folder / UNITS[2]), unit(folder / UNITS[0])
    assert path["Path"]["DirectoryNotEmpty"] == "/var/spool/smartrelay/new"
    assert path["Path"]["TriggerLimitIntervalSec"] == "0"
    assert service["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["Service"]["Type"] == "oneshot"
    assert "Restart" not in service["Service"]
    assert " flush --wait 10m " in service["Service"]["ExecStart"]


@pytest.mark.parametrize("source", ["smartrelay-flush.service", "user/smartrelay-flush.service"])
@pytest.mark.parametrize(
    ("result", "slept"), [("success", ""), ("timeout", ""), ("exit-code", "10"), ("signal", "10"), ("resources", "10")]
)
def test_a_pass_that_failed_is_followed_by_a_pause_of_ten_seconds(tmp_path: Path, source: str, result: str, slept: str) -> None:
    """Else mail that a failed pass left in new/ would start the next one at once, for ever. A stop is not held up."""
    sleep = tmp_path / "sleep"
    sleep.write_text("#!/bin/sh\necho $1\n")
    sleep.chmod(0o755)
    command = unit(CONTRIB / source)["Service"]["ExecStopPost"].lstrip("-+").replace("$$", "$")
    done = run(*shlex.split(command), PATH=f"{tmp_path}:{os.environ['PATH']}", SERVICE_RESULT=result)
    assert (done.returncode, done.stdout.strip()) == (0, slept)


def test_the_timer_counts_from_the_end_of_a_pass(tmp_path: Path) -> None:
    timer = unit(rendered(tmp_path) / "etc/systemd/system" / UNITS[1])
    assert timer["Timer"]["OnUnitInactiveSec"] == "1m"
    assert timer["Timer"]["OnBootSec"] == "1m"
    assert timer["Install"]["WantedBy"] == "timers.target"
    for key in ("OnBootSec", "OnUnitInactiveSec", "AccuracySec", "RandomizedDelaySec"):
        assert run("systemd-analyze", "timespan", timer["Timer"][key]).returncode == 0


def test_boot_makes_the_user_the_spool_and_the_runtime_directory(tmp_path: Path) -> None:
    """An image that was made where no user could be: its first boot makes the user and gives it the spool."""
    root = rendered(tmp_path, "--spool", "/srv/mail queue 100%")
    done = run("systemd-sysusers", "--dry-run", f"--root={root}", root / "etc/sysusers.d/smartrelay.conf")
    assert "Creating user 'smartrelay' (smartrelay mail queue)" in done.stdout + done.stderr
    (root / "etc/passwd").write_text(f"smartrelay:x:{os.getuid()}:{os.getgid()}:::\n")
    (root / "etc/group").write_text(f"smartrelay:x:{os.getgid()}:\n")
    done = run("systemd-tmpfiles", "--create", f"--root={root}", root / "etc/tmpfiles.d/smartrelay.conf")
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "srv/mail queue 100%").stat().st_mode & 0o7777 == 0o700
    assert (root / "run/smartrelay").stat().st_mode & 0o7777 == 0o755
