"""`smartrelay setup`, the real command, into scratch roots and homes.

The laws: what it does is shown first; a second run changes nothing; what it takes away is what it made; what was there
before comes back; what an operator has changed, and mail, stays.
"""

import os
import pty
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from smartrelay import config
from smartrelay.installation import program, stub
from smartrelay.installation.places import system_places
from smartrelay.installation.sample import configuration

COMMAND = f"{os.path.dirname(sys.executable)}/smartrelay"
LIB = "/usr/local/lib/smartrelay"
NAMES = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")
PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
Listing = dict[str, tuple[int, str]]


def setup(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SMARTRELAY_"))}
    if home:
        environment["HOME"] = str(home)
    return subprocess.run(
        [COMMAND, "setup", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def install(root: Path, *arguments: str) -> None:
    done = setup("--root", str(root), "--yes", *arguments)
    assert done.returncode == 0, done.stderr


def remove(root: Path) -> str:
    done = setup("--root", str(root), "--remove", "--yes")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def listing(top: Path) -> Listing:
    """Every path below `top` with its mode and its content (or where it leads)."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    content = file.read()
            found[os.path.relpath(path, top)] = (stat.S_IMODE(status.st_mode), content)
    return found


def times(top: Path) -> dict[str, int]:
    return {os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_mtime_ns
            for folder, folders, names in os.walk(top) for name in folders + names}  # fmt: skip


def write(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def mode(root: Path, path: str) -> int:
    return stat.S_IMODE((root / path.lstrip("/")).lstat().st_mode)


def test_without_a_terminal_and_yes_the_plan_is_shown_and_nothing_changed(tmp_path: Path) -> None:
    done = setup("--root", str(tmp_path))
    assert done.returncode == 0
    assert "would link /usr/sbin/sendmail -> /usr/local/lib/smartrelay/sendmail\n" in done.stdout
    assert "nothing was changed" in done.stderr
    assert all(line.startswith("would ") for line in done.stdout.splitlines())
    assert listing(tmp_path) == {}


def test_dry_run_wins_over_yes(tmp_path: Path) -> None:
    done = setup("--root", str(tmp_path), "--dry-run", "--yes")
    assert done.returncode == 0
    assert "would create unit" in done.stdout
    assert listing(tmp_path) == {}


def test_what_is_done_is_what_was_shown(tmp_path: Path) -> None:
    shown = setup("--root", str(tmp_path), "--dry-run").stdout
    done = setup("--root", str(tmp_path), "--yes").stdout
    assert [f"would {line}" for line in done.splitlines()] == shown.splitlines()


def test_an_installation_has_every_part_in_its_place(tmp_path: Path) -> None:
    install(tmp_path)
    for name in NAMES:
        assert os.readlink(tmp_path / name[1:]) == f"{LIB}/sendmail"
    assert mode(tmp_path, f"{LIB}/sendmail") == 0o755
    assert mode(tmp_path, "/var/spool/smartrelay") == 0o700
    assert mode(tmp_path, "/etc/smartrelay") == 0o755
    assert mode(tmp_path, "/etc/smartrelay/smartrelay.toml") == 0o644
    assert (tmp_path / "usr/local/share/man/man1/smartrelay.1").is_file()
    assert (tmp_path / "usr/local/share/man/man5/smartrelay.toml.5").is_file()
    assert (tmp_path / "usr/local/share/man/man8/smartrelay-sendmail.8").is_file()
    for unit in ("service", "timer", "path"):
        assert mode(tmp_path, f"/etc/systemd/system/smartrelay-flush.{unit}") == 0o644
    assert (tmp_path / "etc/tmpfiles.d/smartrelay.conf").is_file()
    assert (tmp_path / "etc/sysusers.d/smartrelay.conf").is_file()
    assert not (tmp_path / "run").exists()


def test_the_stub_is_an_isolated_interpreter_with_the_bundle_beside_it(tmp_path: Path) -> None:
    install(tmp_path)
    package = os.path.dirname(os.path.dirname(os.path.abspath(config.__file__)))
    text = (tmp_path / LIB[1:] / "sendmail").read_text()
    assert text.startswith(f"#!{sys.executable} -IS\nimport sys, _signal\n")
    assert f"\nsys.path.insert(0, {package!r})\ntry:\n" in text
    assert f"posix.open('{LIB}/sendmail.bundle', " in text
    assert text.endswith(f"    pass\nfrom smartrelay.door import main\nmain('', {COMMAND!r})\n")
    assert mode(tmp_path, f"{LIB}/sendmail.bundle") == 0o644


def test_the_stub_runs_and_tells_its_version(tmp_path: Path) -> None:
    install(tmp_path)
    done = subprocess.run([tmp_path / LIB[1:] / "sendmail", "--version"], capture_output=True, text=True, check=True)
    assert "smartrelay" in done.stdout


def test_a_stub_for_a_path_with_blanks_runs_too(tmp_path: Path) -> None:
    """The first line of a script ends at a blank: there the stub goes by way of sh, and keeps its name.

    `newaliases` does nothing; under any other name the program would have read a message.
    """
    folder = tmp_path / "with a blank"
    folder.mkdir()
    (folder / "python").symlink_to(os.path.realpath(sys.executable))
    forms = stub.forms(program.Program(str(folder / "python"), os.getcwd(), COMMAND, ""), "", "")
    assert len(forms) == 1
    file = tmp_path / "newaliases"
    file.write_bytes(forms[0])
    file.chmod(0o755)
    done = subprocess.run([file], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_configuration_elsewhere_is_written_into_stub_and_unit(tmp_path: Path) -> None:
    install(tmp_path, "--config", "/srv/mail/relay.toml", "--spool", "/srv/mail/spool")
    assert (tmp_path / LIB[1:] / "sendmail").read_text().endswith(f"main('/srv/mail/relay.toml', {COMMAND!r})\n")
    unit = (tmp_path / "etc/systemd/system/smartrelay-flush.service").read_text()
    assert f'ExecStart="{COMMAND}" flush --wait 10m --config "/srv/mail/relay.toml"\n' in unit
    assert 'ReadWritePaths="-/srv/mail/spool"' in unit
    assert tomllib.loads((tmp_path / "srv/mail/relay.toml").read_text()) == {
        "spool": "/srv/mail/spool",
        "status_file": "/run/smartrelay/status.json",  # of another configuration there is none by default
    }
    assert mode(tmp_path, "/srv/mail/spool") == 0o700


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    before = times(tmp_path)
    done = setup("--root", str(tmp_path), "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert "everything is in its place" in done.stderr
    assert times(tmp_path) == before


def test_removal_leaves_an_empty_root_empty(tmp_path: Path) -> None:
    install(tmp_path)
    remove(tmp_path)
    assert listing(tmp_path) == {}


def test_removal_leaves_a_lived_in_root_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, "/usr/sbin/sendmail", "another mail program\n", 0o755)
    write(tmp_path, "/usr/local/share/man/man1/smartrelay.1", "a page of an older package\n")
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/mailq").symlink_to("/etc/alternatives/mailq")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    before = listing(tmp_path)
    install(tmp_path)
    assert (tmp_path / "usr/sbin/sendmail.smartrelay-saved").read_text() == "another mail program\n"
    assert os.readlink(tmp_path / "usr/bin/mailq.smartrelay-saved") == "/etc/alternatives/mailq"
    remove(tmp_path)
    assert listing(tmp_path) == before


def test_what_is_set_aside_is_said_before(tmp_path: Path) -> None:
    write(tmp_path, "/usr/sbin/sendmail", "another mail program\n", 0o755)
    shown = setup("--root", str(tmp_path), "--dry-run").stdout
    assert "(the present one becomes /usr/sbin/sendmail.smartrelay-saved)" in shown


def test_removal_of_nothing_says_so(tmp_path: Path) -> None:
    done = setup("--root", str(tmp_path), "--remove", "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to remove" in done.stderr


def test_where_dpkg_is_the_names_are_diverted_and_given_back(tmp_path: Path) -> None:
    """A mail server's package that comes later puts its files beside ours, not over them."""
    write(tmp_path, "/var/lib/dpkg/status", "")
    (tmp_path / "var/lib/dpkg/info").mkdir()
    (tmp_path / "var/lib/dpkg/updates").mkdir()
    write(tmp_path, "/usr/sbin/sendmail", "a package's program\n", 0o755)
    install(tmp_path)
    listed = subprocess.run(
        ["dpkg-divert", "--root", tmp_path, "--list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert sorted(listed) == sorted(f"local diversion of {name} to {name}.distrib" for name in NAMES)
    assert (tmp_path / "usr/sbin/sendmail.distrib").read_text() == "a package's program\n"
    assert os.readlink(tmp_path / "usr/sbin/sendmail") == f"{LIB}/sendmail"
    assert "everything is in its place" in setup("--root", str(tmp_path), "--yes").stderr
    remove(tmp_path)
    assert (tmp_path / "usr/sbin/sendmail").read_text() == "a package's program\n"
    assert (tmp_path / "var/lib/dpkg/diversions").read_text() == ""
    assert not any(name.endswith(".distrib") for name in listing(tmp_path))


def test_a_configuration_that_is_there_is_never_touched(tmp_path: Path) -> None:
    file = write(tmp_path, "/etc/smartrelay/smartrelay.toml", 'spool = "/srv/queue"\n')
    install(tmp_path)
    assert mode(tmp_path, "/srv/queue") == 0o700
    assert not (tmp_path / "var/spool").exists()
    assert "DirectoryNotEmpty=/srv/queue/new\n" in (tmp_path / "etc/systemd/system/smartrelay-flush.path").read_text()
    remove(tmp_path)
    assert file.read_text() == 'spool = "/srv/queue"\n'


def test_a_configuration_that_was_changed_since_stays(tmp_path: Path) -> None:
    install(tmp_path)
    file = tmp_path / "etc/smartrelay/smartrelay.toml"
    file.write_text('hostname = "host.example.org"\n')
    assert "leave /etc/smartrelay/smartrelay.toml" in remove(tmp_path)
    assert file.read_text() == 'hostname = "host.example.org"\n'
    assert sorted(listing(tmp_path)) == ["etc", "etc/smartrelay", "etc/smartrelay/smartrelay.toml"]


def test_a_unit_that_an_operator_changed_is_kept_when_it_is_replaced(tmp_path: Path) -> None:
    install(tmp_path)
    unit = tmp_path / "etc/systemd/system/smartrelay-flush.timer"
    fresh = unit.read_text()
    unit.write_text("[Timer]\nOnCalendar=daily\n")
    install(tmp_path)
    assert unit.read_text() == fresh
    assert (tmp_path / f"{unit}.smartrelay-saved").read_text() == "[Timer]\nOnCalendar=daily\n"


def test_a_spool_with_mail_stays_until_it_is_empty(tmp_path: Path) -> None:
    install(tmp_path)
    mail = write(tmp_path, "/var/spool/smartrelay/hold/0BCDFGHJKLMNPQRST", "Smartrelay-Envelope: {}\n")
    said = remove(tmp_path)
    assert "leave spool /var/spool/smartrelay, which has mail in it" in said
    assert "smartrelay queue list --spool /var/spool/smartrelay" in said
    assert mail.exists()
    assert not (tmp_path / "usr/sbin").exists()
    mail.unlink()
    remove(tmp_path)
    assert listing(tmp_path) == {}


def test_the_user_is_made_in_the_users_of_the_root_and_owns_the_spool(tmp_path: Path) -> None:
    """Only root can make users; for anyone else sysusers.d and tmpfiles.d do it at boot, and that is said."""
    write(tmp_path, "/etc/passwd", PASSWD)
    write(tmp_path, "/etc/group", "root:x:0:\n")
    done = setup("--root", str(tmp_path), "--yes")
    assert done.returncode == 0, done.stderr
    users = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    ours = [user for user in users if user[0] == "smartrelay"]
    if os.geteuid():
        assert ours == []
        assert "no user smartrelay is made here" in done.stderr
        return
    assert [user[5:] for user in ours] == [["/var/spool/smartrelay", "/usr/sbin/nologin"]]
    assert (tmp_path / "var/spool/smartrelay").stat().st_uid == int(ours[0][2])
    remove(tmp_path)
    assert (tmp_path / "etc/passwd").read_text() == PASSWD


def test_a_spool_that_root_made_before_there_was_a_user_is_handed_over(tmp_path: Path) -> None:
    write(tmp_path, "/etc/passwd", PASSWD)
    write(tmp_path, "/etc/group", "root:x:0:\n")
    mail = write(tmp_path, "/var/spool/smartrelay/new/0BCDFGHJKLMNPQRST", "Smartrelay-Envelope: {}\n", 0o600)
    install(tmp_path)
    assert mail.stat().st_uid == (tmp_path / "var/spool/smartrelay").stat().st_uid
    assert os.geteuid() or mail.stat().st_uid != 0


def test_for_a_user_everything_is_below_the_home(tmp_path: Path) -> None:
    done = setup("--user", "--yes", home=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("sendmail", "mailq", "newaliases"):
        assert os.readlink(tmp_path / ".local/bin" / name) == f"{tmp_path}/.local/lib/smartrelay/sendmail"
    settings = f"{tmp_path}/.config/smartrelay/smartrelay.toml"
    assert (tmp_path / ".local/lib/smartrelay/sendmail").read_text().endswith(f"main({settings!r}, {COMMAND!r})\n")
    assert tomllib.loads(Path(settings).read_text()) == {"spool": f"{tmp_path}/.local/state/smartrelay"}
    assert mode(tmp_path, ".local/state/smartrelay") == 0o700
    unit = (tmp_path / ".config/systemd/user/smartrelay-flush.service").read_text()
    assert f'--config "{settings}"' in unit
    assert "User=" not in unit
    before = times(tmp_path)
    assert setup("--user", "--yes", home=tmp_path).returncode == 0
    assert times(tmp_path) == before
    assert setup("--user", "--remove", "--yes", home=tmp_path).returncode == 0
    assert listing(tmp_path) == {}


def test_the_names_and_the_units_can_be_left_out(tmp_path: Path) -> None:
    install(tmp_path, "--no-sendmail", "--no-units")
    found = listing(tmp_path)
    assert not any("systemd" in path or "sendmail" in path.split("/")[-1:] for path in found)
    assert "var/spool/smartrelay" in found


def test_who_is_not_root_is_refused_and_told_what_to_use() -> None:
    """77. The interpreter may lie where nobody cannot go, so the process changes its user when all is imported."""
    code = (
        "import os, sys\n"
        "from smartrelay.cli.setup import setup\n"
        "from smartrelay.errors import SmartRelayError\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    setup(['--yes'])\n"
        "except SmartRelayError as error:\n"
        "    print(error, file=sys.stderr)\n"
        "    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 77
    assert "--user" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--root", "/nonexistent/root"], 64, "there is no such directory"),
        (["--spool", '/srv/"quoted"'], 64, "cannot be written into a unit"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = setup("--yes", *(arguments if "--root" in arguments else ["--root", str(tmp_path), *arguments]))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_spools_for_one_configuration_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "/etc/smartrelay/smartrelay.toml", 'spool = "/srv/queue"\n')
    done = setup("--root", str(tmp_path), "--yes", "--spool", "/srv/other")
    assert done.returncode == 78
    assert "/srv/queue" in done.stderr
    assert not (tmp_path / "usr").exists()


def test_a_broken_configuration_stops_an_installation_and_not_a_removal(tmp_path: Path) -> None:
    file = write(tmp_path, "/etc/smartrelay/smartrelay.toml", "spool = \n")
    done = setup("--root", str(tmp_path), "--yes")
    assert done.returncode == 78
    assert "/etc/smartrelay/smartrelay.toml" in done.stderr
    file.unlink()
    install(tmp_path)
    file.write_text("spool = \n")
    remove(tmp_path)
    assert sorted(listing(tmp_path)) == ["etc", "etc/smartrelay", "etc/smartrelay/smartrelay.toml"]


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    """What is meant for an image must not land on the machine that builds it."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "etc").mkdir(parents=True)
    (root / "etc/systemd").symlink_to(outside)
    done = setup("--root", str(root), "--yes")
    assert done.returncode == 73
    assert "leads out of" in done.stderr
    assert listing(outside) == {}


def test_what_fails_half_way_is_said_and_can_be_taken_away(tmp_path: Path) -> None:
    write(tmp_path, "/usr/sbin", "a file where a directory should be\n")
    before = listing(tmp_path)
    done = setup("--root", str(tmp_path), "--yes")
    assert done.returncode == 73
    assert "/usr/sbin" in done.stderr
    assert "Traceback" not in done.stderr
    remove(tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(("answer", "changed"), [(b"n\n", False), (b"y\n", True)])
def test_on_a_terminal_it_shows_the_plan_and_asks(tmp_path: Path, answer: bytes, changed: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "setup", "--root", tmp_path], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.write(ours, answer)
    output, _ = process.communicate()
    os.close(ours)
    assert b"would create directory" in output
    assert (listing(tmp_path) != {}) is changed


def test_every_setting_of_the_first_configuration_is_one_that_the_program_knows(tmp_path: Path) -> None:
    """Taking the comment marks away must give a configuration that is accepted as it stands."""
    text = configuration(system_places("", "", "")).decode()
    bare = [line.removeprefix("#") if not line.startswith("# ") else "" for line in text.splitlines()]
    file = tmp_path / "smartrelay.toml"
    file.write_text("\n".join(bare))
    loaded = config.load(str(file))
    assert loaded.spool == "/var/spool/smartrelay"
    assert [relay.name for relay in loaded.relays] == ["work", "direct"]
    assert loaded.retry == config.RETRY
    assert loaded.limits == config.Limits()
