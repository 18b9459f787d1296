"""smartrelay as it is installed here: the sendmail that `setup` links, the commands that pip made, a configuration."""

import os
import subprocess
import sys

from benchmarks.process import Command, plain_environment
from smartrelay.installation import program

# Of the length and with the comments that a configuration has; the settings that enqueueing reads stand first.
_CONFIGURATION = """\
# smartrelay's configuration: smartrelay.toml(5).
hostname = "bench.example.test"          # the name in EHLO and Message-ID
domain = "example.test"                  # completes local names
spool = "{spool}"
{top}
#max_message_size = "50M"
#max_recipients = 10000
min_free_space = "1M"

[[relay]]
name = "relay"
hosts = ["{host}"]

[limits]
{limits}
{tables}"""


def configuration(
    path: str,
    spool: str,
    *,
    port: int = 9,
    top: str = "",
    limits: str = "",
    exchangers: tuple[str, int] | None = None,
) -> str:
    """Writes a configuration for the spool; returns its path. All mail goes to `port` of this host, or to the recipients'
    exchangers: where their name server is, and at which port they all are. top: more settings that enqueueing reads."""
    host, tables = f"smtp://127.0.0.1:{port}", ""
    if exchangers is not None:
        host, tables = "mx", f'\n[mx]\nnameservers = ["{exchangers[0]}"]\nport = {exchangers[1]}\n'
    with open(path, "w", encoding="utf-8") as file:
        file.write(_CONFIGURATION.format(spool=spool, host=host, top=top, limits=limits, tables=tables))
    return path


def sendmail(home: str, config: str) -> str:
    """Lets `smartrelay setup` install for a user whose home is `home`; returns the path of the sendmail that it links."""
    os.mkdir(home)
    words = ["--config", config, "setup", "--user", "--yes", "--no-units"]
    kept = {name: value for name, value in plain_environment().items() if not name.startswith("XDG_")}
    subprocess.run([program.running().command, *words], env={**kept, "HOME": home}, check=True, capture_output=True, text=True)
    return f"{home}/.local/bin/sendmail"


def console() -> str:
    """The script that pip made for `smartrelay-sendmail`."""
    return program.running().console


def command(config: str, *arguments: str) -> Command:
    """A call of `smartrelay`, as a unit or a person makes it."""
    return Command([program.running().command, "--config", config, *arguments])


def python(*arguments: str) -> Command:
    """The interpreter that smartrelay runs on."""
    return Command([sys.executable, *arguments])
