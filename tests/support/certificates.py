"""Certificates of a private authority, and the wrong ones that a client must refuse."""

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import trustme

NAMES = ("localhost", "127.0.0.1", "relay.example.test")


@dataclass(frozen=True)
class Certificate:
    """A certificate with its chain, and its private key, as PEM files."""

    cert_file: str
    key_file: str

    def server_context(self) -> ssl.SSLContext:
        """A fresh context for a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True)
class Certificates:
    """`server` is good for NAMES under `ca_file`, and so is `ending`, for ten days; each of the others is wrong in exactly one
    way."""

    ca_file: str
    other_ca_file: str
    server: Certificate
    ending: Certificate
    expired: Certificate
    wrong_name: Certificate
    common_name_only: Certificate
    untrusted: Certificate


def make_certificates(folder: str) -> Certificates:
    """Write authorities and certificates into `folder`."""

    def write(leaf: trustme.LeafCert, name: str) -> Certificate:
        cert_file, key_file = os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key")
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(cert_file, append=number > 0)
        leaf.private_key_pem.write_to_path(key_file)
        return Certificate(cert_file, key_file)

    authority, other = trustme.CA(), trustme.CA()
    ca_file, other_ca_file = os.path.join(folder, "ca.crt"), os.path.join(folder, "other-ca.crt")
    authority.cert_pem.write_to_path(ca_file)
    other.cert_pem.write_to_path(other_ca_file)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    soon = datetime.now(UTC) + timedelta(days=10, hours=12)
    return Certificates(
        ca_file=ca_file,
        other_ca_file=other_ca_file,
        server=write(authority.issue_cert(*NAMES), "server"),
        ending=write(authority.issue_cert(*NAMES, not_after=soon), "ending"),
        expired=write(authority.issue_cert(*NAMES, not_before=yesterday - timedelta(days=30), not_after=yesterday), "expired"),
        wrong_name=write(authority.issue_cert("other.example.test"), "wrong-name"),
        common_name_only=write(authority.issue_cert(common_name="localhost"), "common-name-only"),
        untrusted=write(other.issue_cert(*NAMES), "untrusted"),
    )
