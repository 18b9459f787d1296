"""`smartrelay health`: how this machine's outgoing mail stands, for anybody and for any monitoring."""

import json
import time
from collections.abc import Callable
from typing import Any

import click

from smartrelay import settings
from smartrelay.cli import nagios, openmetrics, suggest
from smartrelay.cli.caller import Common
from smartrelay.cli.diagnosis import STATES, UNKNOWN, Diagnosis, Thresholds, diagnose, unknown
from smartrelay.cli.options import Duration, common_options
from smartrelay.errors import ConfigError
from smartrelay.mail.status import visible
from smartrelay.spool import status_file

_DEFAULT = Thresholds()


class _Plugin(click.Command):
    """A command whose usage errors are UNKNOWN, as monitoring wants it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            click.echo(_line(unknown(error.format_message(), 0.0), _DEFAULT))
            raise click.exceptions.Exit(UNKNOWN) from error


def _threshold(name: str, kind: click.ParamType[Any], shown: str, text: str) -> Callable[[Any], Any]:
    metavar = "N" if isinstance(kind, click.IntRange) else "DURATION"
    option = f"--{name.replace('_', '-')}"
    return click.option(option, type=kind, default=getattr(_DEFAULT, name), metavar=metavar, help=f"{text}  [default: {shown}]")


@click.command("health", cls=_Plugin)
@_threshold("warn_queue", click.IntRange(1), "100", "WARNING from so many messages that wait.")
@_threshold("crit_queue", click.IntRange(1), "1000", "CRITICAL from so many.")
@_threshold("warn_age", Duration(), "4h", "WARNING when the oldest waits for so long.")
@_threshold("crit_age", Duration(), "1d", "CRITICAL when it waits for so long.")
@_threshold("max_age", Duration(), "10m", "UNKNOWN when the last pass is longer ago.")
@click.option(
    "--status-file",
    "path",
    metavar="FILE",
    default="",
    shell_complete=suggest.files,
    help="This status file, not the configured one.",
)
@click.option("--json", "form", flag_value="json", help="All that is known as one JSON object.")
@click.option(
    "--openmetrics", "form", flag_value="openmetrics", help="For Prometheus, or a node exporter's textfile collector."
)
@common_options
def health(
    warn_queue: int,
    crit_queue: int,
    warn_age: float,
    crit_age: float,
    max_age: float,
    path: str,
    form: str | None,
    common: Common,
) -> int:
    """Say how it stands, as the last pass has told: for monitoring, by any user.

    Exits 0 for OK, 1 for WARNING, 2 for CRITICAL, 3 for UNKNOWN.

    \b
    Examples:
      smartrelay health
      smartrelay health --warn-age 1h --crit-age 6h
      smartrelay health --openmetrics > new; mv new smartrelay.prom
    """
    limits = Thresholds(warn_queue, crit_queue, warn_age, crit_age, max_age)
    found = _diagnosis(common, path, limits, time.time())
    if form == "json":
        click.echo(_json(found))
    elif form == "openmetrics":
        click.echo(openmetrics.text(found), nl=False)
    else:
        click.echo(_line(found, limits))
    return found.state


def _diagnosis(common: Common, path: str, limits: Thresholds, now: float) -> Diagnosis:
    """Of this status file, or of the one that is configured."""
    try:
        path = path or _path(common)
        return diagnose(status_file.read(path), limits, now)
    except ConfigError as error:
        return unknown(str(error), now)
    except FileNotFoundError:
        return unknown(f"there is no status file {path}: no pass has run yet, or its directory is missing", now)
    except OSError as error:
        return unknown(f"cannot read the status file {path}: {error.strerror}", now)
    except ValueError as error:
        return unknown(f"the status file {path} cannot be used: {error}", now)


def _path(common: Common) -> str:
    """Where the status file is, for one who may not be able to read the configuration. Raises ConfigError."""
    file, _ = settings.find(common.config)
    try:
        path = settings.load(common.config, common.spool).status_file
    except ConfigError:
        path = settings.default_status(file)
        if not path:
            raise
    if not path:
        raise ConfigError(f"no status file is configured for this spool; set status_file in {file}, or use --status-file")
    return path


def _line(found: Diagnosis, limits: Thresholds) -> str:
    return visible(nagios.line(found, limits))


def _json(found: Diagnosis) -> str:
    status = None if found.status is None else status_file.table(found.status)
    head = {"state": STATES[found.state], "exit_code": found.state, "problems": list(found.problems)}
    return json.dumps({**head, "status": status})
