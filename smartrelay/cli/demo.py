"""`smartrelay demo`: the main job with nothing set up. Real code all the way, in a spool that goes away."""

import os
import subprocess
import sys
import tempfile

import click

from smartrelay.cli.caller import Common
from smartrelay.cli.options import common_options
from smartrelay.cli.receiver import Receiver
from smartrelay.errors import EX_OK, EX_SOFTWARE

_MESSAGE = """\
To: "Ada" <ada@example.org>
Bcc: archive@example.org
Subject: backup finished

All 3 volumes are safe.
.this line begins with a dot, and arrives as it is
"""


@click.command("demo")
@common_options
def demo(common: Common) -> int:
    """Show the main job with nothing set up: a message goes in, a pass relays it to a server on loopback.

    \b
    Example:
      smartrelay demo
    """
    with tempfile.TemporaryDirectory(prefix="smartrelay-demo-") as directory, Receiver() as server:
        # root's commands become the spool's owner, who must get there
        os.chmod(directory, 0o711)
        environment = {
            **os.environ,
            "SMARTRELAY_SPOOL": f"{directory}/spool",
            "SMARTRELAY_RELAY": f"smtp+notls://127.0.0.1:{server.port}",
            "SMARTRELAY_HOSTNAME": "host.example.org",
            "SMARTRELAY_CONFIG": os.devnull,
        }
        click.echo(f"A receiving server listens on 127.0.0.1:{server.port}, the spool is {directory}/spool.\n")
        sendmail = [sys.executable, "-m", "smartrelay.door", "-t", "-i", "-v"]
        _run("A program hands its mail to sendmail -t -i:", sendmail, environment, _MESSAGE)
        _run("It waits in the queue:", [sys.executable, "-m", "smartrelay", "queue", "list"], environment)
        _run("A pass relays it:", [sys.executable, "-m", "smartrelay", "flush"], environment)
        _run("The queue is empty again:", [sys.executable, "-m", "smartrelay.door", "-bp"], environment)
        if not server.received:
            click.echo("The server got nothing: this should not happen.", err=True)
            return EX_SOFTWARE
        for message in server.received:
            click.echo(f"What the server got, from {message.sender} for {', '.join(message.recipients)}:\n")
            click.echo(
                b"".join(b"    " + line for line in message.lines).decode("utf-8", "replace").replace("\r\n", "\n"),
                nl=False,
            )
    return EX_OK


def _run(what: str, command: list[str], environment: dict[str, str], text: str = "") -> None:
    """One step, its command as a person would type it, and what it says."""
    shown = " ".join(["smartrelay" if command[2] == "smartrelay" else "smartrelay-sendmail", *command[3:]])
    click.echo(f"{what}\n  $ {shown}")
    done = subprocess.run(
        command, env=environment, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        click.echo(f"    {line}")
    click.echo()
    if done.returncode:
        raise click.ClickException(f"{shown} failed with exit code {done.returncode}")
