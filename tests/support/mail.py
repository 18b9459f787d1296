"""What a real server took, as it keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KeptMail:
    """One message."""

    sender: str
    recipients: list[str]
    content: bytes  # LF line ends; what the server adds to the header is on top
