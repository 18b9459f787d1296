"""TLS contexts: verified ones for relays that require TLS, an unverified one where TLS is better than nothing."""

import ssl
from functools import lru_cache

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
