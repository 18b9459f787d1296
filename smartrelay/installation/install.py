"""The plan that puts an installation in place: which steps, in which order, and what a person should know."""

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from smartrelay.errors import ConfigError, NotPermitted
from smartrelay.installation import data, diversion, program, sample, services, units
from smartrelay.installation.account import Account, OwnedDirectory, ids, manageable
from smartrelay.installation.bundle import Bundle
from smartrelay.installation.bytecode import Bytecode
from smartrelay.installation.diversion import Diversion
from smartrelay.installation.files import Directory, File, Link
from smartrelay.installation.places import SERVICE_USER, Places, system_places, user_places
from smartrelay.installation.plan import Plan
from smartrelay.installation.record import Record
from smartrelay.installation.services import Services
from smartrelay.installation.step import Site, Step
from smartrelay.installation.stub import Stub


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    user: bool = False
    root: str = ""
    config: str = ""
    spool: str = ""
    sendmail: bool = True
    units: bool = True


def site(options: Options) -> Site:
    """Where the installation is, for who calls."""
    if not options.user and not options.root and os.geteuid() != 0:
        raise NotPermitted("only root can set up a machine; use --user for your own account, or --root DIR for a trial")
    places = _places(options, options.spool)
    return Site(places, Record(places.real(places.record)))


def installation(here: Site, options: Options) -> Plan:
    """The steps that are still needed to put everything in its place."""
    here = Site(_with_configured_spool(here.places, options), here.record)
    running = program.running()
    plan = Plan(remarks=_remarks(here.places, running, options))
    made: set[str] = set()
    for step in _steps(here, running, options):
        if step.needed():
            plan.steps += [*_directories(here, step, made), step]
    if options.units:
        unit_files = [s for s in plan.steps if isinstance(s, File) and s.path.startswith(f"{here.places.units}/")]
        final = Services(here, changed=bool(unit_files))
        plan.steps += [final] if final.needed() else []
    return plan


def _steps(here: Site, running: program.Program, options: Options) -> Iterator[Step]:
    """All steps in their order: what others stand on first, the names that programs call behind it, the units last."""
    places = here.places
    yield Directory(here, places.lib)
    for page in data.man_pages():
        yield File(here, f"{places.man}/man{page[-1]}/{page}", data.read("man", page).encode(), "man page")
    for name, path in places.completions:
        yield File(here, path, data.read("completion", name).encode(), "completion")
    yield File(here, places.config, sample.configuration(places), "configuration", once=True)
    if not places.user:
        yield Account(here)
    yield OwnedDirectory(here, places.spool, 0o700, "spool")
    if options.units and not places.user and not places.root:
        yield OwnedDirectory(here, places.runtime, 0o755, "runtime")
    yield Bytecode(here)
    if options.sendmail:
        yield from _sendmail(here, running)
    if options.units:
        sendmail = places.stub if options.sendmail else running.console
        for path, text in units.rendered(places, running.command, sendmail, running.needs()).items():
            yield File(here, path, text.encode(), "unit" if path.startswith(f"{places.units}/") else "systemd file")


def _sendmail(here: Site, running: program.Program) -> Iterator[Step]:
    places = here.places
    yield Bundle(here)
    yield Stub(here, running, "" if places.default_config else places.config)
    diverted = diversion.usable(places)
    for name in places.names:
        if diverted:
            yield Diversion(here, name)
        yield Link(here, name, places.stub, diverted)


def _directories(here: Site, step: Step, made: set[str]) -> list[Step]:
    """The directories that are missing on the way to what a step makes, outermost first, each once in a plan."""
    if not isinstance(step, Directory | File | Link | OwnedDirectory):
        return []
    made.add(step.path)
    missing: list[Step] = []
    parent = os.path.dirname(step.path)
    while parent != "/" and parent not in made and not os.path.isdir(here.places.real(parent)):
        made.add(parent)
        missing.insert(0, Directory(here, parent, 0o700 if here.places.user else 0o755))
        parent = os.path.dirname(parent)
    return missing


def _places(options: Options, spool: str) -> Places:
    return (user_places if options.user else system_places)(options.root, options.config, spool)


def _with_configured_spool(places: Places, options: Options) -> Places:
    """A configuration that is there has the say about the spool: programs will read it."""
    try:
        with open(places.real(places.config), "rb") as file:
            configured = tomllib.load(file).get("spool", "")
    except FileNotFoundError:
        return places
    except (OSError, ValueError) as error:
        raise ConfigError(f"{places.config} cannot be read: {error}; correct it and run setup again") from error
    if not isinstance(configured, str):
        raise ConfigError(f"{places.config}: the value of `spool` is no path")
    actual = _places(options, configured)
    if options.spool and actual.spool != places.spool:
        raise ConfigError(f"{places.config} makes {actual.spool} the spool, not {places.spool}; change one of them")
    return actual


def _remarks(places: Places, running: program.Program, options: Options) -> list[str]:
    remarks = []
    closed = program.closed_to_others(running.needs())
    if closed and not places.user:
        remarks.append(
            f"only its owner can enter {closed}: other users, and the service as user {SERVICE_USER}, cannot run a "
            "program below it; install smartrelay elsewhere, for example in a venv in /opt"
        )
    if not places.user and not manageable(places) and ids(places) is None:
        remarks.append(f"no user {SERVICE_USER} is made here: sysusers.d and tmpfiles.d make it, and give it the spool")
    if not options.units or not services.running(places):
        remarks.append(f"no systemd runs here: enable {' and '.join(units.enabled(places))} where one does, or use cron:")
        owner = "" if places.user else f"{SERVICE_USER} "
        config = "" if places.default_config else f" --config {places.config}"
        remarks.append(f"* * * * * {owner}{running.command} flush -q{config}")
    elif places.user:
        remarks.append("passes stop when you log out, unless you run: loginctl enable-linger")
    return remarks
