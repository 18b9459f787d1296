"""Why a domain's mail has no way, as errors of routing: each knows whether waiting can help, and its code (RFC 3463)."""


class RoutingError(Exception):
    """There is no way to a domain. permanent: waiting does not help. dsn: the enhanced status code. text: one line."""

    permanent = True
    dsn = "5.4.4"

    @property
    def text(self) -> str:
        """What is wrong, in one line."""
        return str(self)


class CanonicalNameLoop(RoutingError):
    """Following the domain's CNAME records leads back to a name that was passed already.

    5.4.4, unable to route: the directory's data lead nowhere. Not 5.4.6: that is for a message that goes round.
    """


class CanonicalNameChainTooLong(RoutingError):
    """The domain's CNAME records lead on for more steps than `canonical_chain_limit`. 5.4.4, as a loop is."""


class NullMX(RoutingError):
    """The domain takes no mail, and says so (RFC 7505 section 4.1)."""

    dsn = "5.1.10"


class NoSuchDomain(RoutingError):
    """The domain does not exist (RFC 3463 section 3.2)."""

    dsn = "5.1.2"


class NoUsableExchanger(RoutingError):
    """The domain has no mail exchanger with a usable name and an address (RFC 5321 section 5.1)."""


class MailLoopsBack(RoutingError):
    """The domain's best mail exchanger is this host, which does not keep its mail (RFC 5321 section 5.1)."""

    dsn = "5.4.6"


class BadLiteral(RoutingError):
    """The text between brackets is no address (RFC 5321 section 4.1.3)."""

    dsn = "5.1.3"


class OtherFamilyOnly(RoutingError):
    """All addresses are of the family that this host's configuration leaves out: that may change, so the mail waits."""

    permanent = False
    dsn = "4.4.1"


class UnverifiableExchanger(RoutingError):
    """No certificate could prove whose exchangers those are that a relay's name leads to: a matter of the configuration."""

    permanent = False
    dsn = "4.7.5"


class NoRule(RoutingError):
    """No rule of the configuration is for such mail (RFC 3463 section 3.4: system incorrectly configured)."""

    permanent = False
    dsn = "4.3.5"

    def __init__(self) -> None:
        super().__init__("no [[relay]] rule is for this sender and recipient")


class LookupFailed(RoutingError):
    """The DNS could not tell now (RFC 3463 section 3.5: directory server failure)."""

    permanent = False
    dsn = "4.4.3"


class Unreachable(LookupFailed):
    """There is no way to any DNS server: this host is offline."""
