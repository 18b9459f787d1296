"""TLS contexts: verified ones for relays that require TLS, an unverified one where TLS is better than nothing."""

import socket
import ssl
from functools import lru_cache
from typing import Any, NamedTuple

from smartrelay.errors import ConfigError


@lru_cache(maxsize=32)
def verified(ca_file: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A context that checks chain, expiry and name (RFC 7817 section 3); ca_file: trust only what is in there ("": the
    system's). certificate, key: PEM files that say who we are ("": none; the key may stand in the certificate's file).

    Raises ConfigError when a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"cannot use ca_file {ca_file}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # an authority vouches for the alternative names; what stands as the common name may be any text
    context.hostname_checks_common_name = False
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None)
        except OSError as error:
            raise ConfigError(f"cannot use client_certificate {certificate}: {error.strerror or error}") from error
    return context


@lru_cache(maxsize=1)
def opportunistic() -> ssl.SSLContext:
    """A context that encrypts and checks nothing (RFC 3207 section 4.1): the alternative would be clear text."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Certificate(NamedTuple):
    """What a server has shown. subject, issuer: whose it is and who says so. ends: in Unix seconds."""

    subject: str
    issuer: str
    ends: float


def certificate_of(connected: socket.socket | None) -> Certificate | None:
    """The certificate at the other end; None where none was shown, or none was verified."""
    found: Any = connected.getpeercert() if isinstance(connected, ssl.SSLSocket) else None
    if not found:
        return None
    alternatives = [name for _, name in found.get("subjectAltName", ())]
    subject = _named(found.get("subject", ()), "commonName") or (alternatives or ["nobody"])[0]
    issuer = _named(found.get("issuer", ()), "organizationName", "commonName") or "nobody"
    return Certificate(subject, issuer, float(ssl.cert_time_to_seconds(found["notAfter"])))


def _named(name: Any, *wanted: str) -> str:
    """The first of these attributes that a distinguished name has."""
    attributes = {key: str(value) for part in name for key, value in part}
    return next((attributes[key] for key in wanted if attributes.get(key)), "")
