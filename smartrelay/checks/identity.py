"""Who this host says it is: its name, the domain of its mail, who hears of what has no sender, and who reads root's mail."""

from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.config import Config
from smartrelay.errors import NoMailbox, SmartRelayError, TryAgain
from smartrelay.mail.status import visible
from smartrelay.routing.relays import Routes
from smartrelay.settings import Settings
from smartrelay.submit.aliases import Expansion

_NOBODYS = ("localhost", "localdomain", "local", "internal", "lan")
"""Last labels of names that mean nothing to another host (RFC 6761, RFC 6762)."""


def findings(config: Config, settings: Settings, routes: Routes | None) -> list[Finding]:
    """What is to be said of `hostname`, `domain`, `postmaster` and `aliases`. routes: None where a rule cannot be used."""
    return [_hostname(config), _domain(config), _postmaster(config, routes), _aliases(settings)]


def _is_nobodys(name: str) -> bool:
    return name.lower().rstrip(".").rpartition(".")[2] in _NOBODYS or name.lower().startswith("localhost.")


def _hostname(config: Config) -> Finding:
    name, mend = config.hostname, f'set hostname = "host.example.org" in {config.file}'
    if _is_nobodys(name):
        return Finding(WARN, "hostname", f"this host calls itself {name}, which means nothing to others", mend)
    if "." not in name:
        without = f"this host calls itself {name}, without a domain: servers are told its address instead, which some refuse"
        return Finding(WARN, "hostname", without, mend)
    return Finding(OK, "hostname", f"this host calls itself {name}")


def _domain(config: Config) -> Finding:
    name = config.domain
    if "." not in name or _is_nobodys(name):
        words = f"local names become addresses at {name}, to which nobody can answer"
        return Finding(WARN, "domain", words, f'set domain = "example.org" in {config.file}')
    return Finding(OK, "domain", f"local names become addresses at {name}")


def _postmaster(config: Config, routes: Routes | None) -> Finding:
    address = config.postmaster
    if not address:
        words = "nobody is told of mail that can be neither delivered nor returned"
        return Finding(WARN, "postmaster", words, f'set postmaster = "admin@example.org" in {config.file}')
    if routes is not None and routes.hops and routes.next_hop("", address) is None:
        words = f"no rule is for mail to {address}, so it is kept"
        return Finding(WARN, "postmaster", words, f"let a [[relay]] in {config.file} take it")
    return Finding(OK, "postmaster", f"{address} is told of mail that can be neither delivered nor returned")


def _aliases(settings: Settings) -> Finding:
    """Who reads what cron and most other programs send: it goes to root, though seldom by way of a spool of one's own. What is
    wrong says itself how to mend it."""
    try:
        readers = Expansion(settings).of("root")
    except TryAgain as error:
        return Finding(FAIL, "aliases", f"mail for root cannot be taken: {error}", f"let everybody read {settings.aliases}")
    except NoMailbox as error:
        return Finding(WARN if settings.direct else FAIL, "aliases", f"mail for root cannot be taken: {error}")
    except SmartRelayError as error:
        return Finding(FAIL, "aliases", f"mail for root cannot be taken: {error}")
    return Finding(OK, "aliases", visible(f"mail for root goes to {', '.join(readers)}"))
