"""Internationalised domain names: A-labels by IDNA 2008 with the UTS 46 mapping (non-transitional), as browsers do it."""

from smartrelay.mail.address import split


class NoSuchDomainName(ValueError):
    """The text cannot be a domain name."""


def a_label_path(address: str) -> str:
    """An address with its domain in A-labels; the local part as it is (RFC 6531 section 3.2)."""
    local, domain = split(address)
    return f"{local}@{a_labels(domain)}" if domain is not None else local


def a_labels(domain: str) -> str:
    """A domain in ASCII: `bücher.example` becomes `xn--bcher-kva.example`. Raises NoSuchDomainName."""
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError as error:
        raise NoSuchDomainName(f"{domain!a} is no domain name: {error}") from error
