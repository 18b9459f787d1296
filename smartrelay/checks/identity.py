"""Who this host says it is: its name, the domain of its mail, and who hears of what has no sender."""

from smartrelay.checks.finding import OK, WARN, Finding
from smartrelay.config import Config
from smartrelay.routing.relays import Routes

_NOBODYS = ("localhost", "localdomain", "local", "internal", "lan")
"""Last labels of names that mean nothing to another host (RFC 6761, RFC 6762)."""


def findings(config: Config, routes: Routes | None) -> list[Finding]:
    """What is to be said of `hostname`, `domain` and `postmaster`. routes: None where a rule cannot be used."""
    return [_hostname(config), _domain(config), _postmaster(config, routes)]


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
