"""Where the workers of a sweep are: processes of this machine, or a Dask scheduler of others.

Owns what is refused before anything is sent: whoever reaches a scheduler can run code on all its
machines, so beyond loopback there are certificates or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from config import is_loopback


class ClusterError(Exception):
    """The workers cannot be used, or went away for too long. What was done is kept."""


class AddressRefused(ClusterError):
    """An address or certificates that are not used."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority that signed all of them, and the certificate and key of this end."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SchedulerAddress:
    """A Dask scheduler; `certificates` for tls://, none for tcp:// on loopback."""

    url: str
    certificates: Certificates | None = None


def read_address(
    text: str, ca: Path | None, cert: Path | None, key: Path | None
) -> SchedulerAddress:
    """The scheduler that was named, checked as far as it can be without asking it.

    Raises:
        AddressRefused: the message says what would be right.
    """
    url = text.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts_are_wrong(url, host, port):
        raise AddressRefused(
            f"{url[:60]!r} is no address of a scheduler: write one like tls://10.0.0.5:8786"
        )
    assert host is not None
    if url.startswith("tcp://"):
        if not is_loopback(host):
            raise AddressRefused(
                f"{url} is not encrypted, and whoever reaches it could run code here: beyond"
                " loopback use tls:// with certificates (docs/sweep.md)"
            )
        return SchedulerAddress(url)
    missing = [name for name, path in (("ca", ca), ("cert", cert), ("key", key)) if path is None]
    if ca is None or cert is None or key is None:
        options = ", ".join(f"--tls-{name}" for name in missing)
        raise AddressRefused(f"{url} needs {options} (or SWEEP_TLS_... in .env)")
    for path in (ca, cert, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise AddressRefused(f"cannot read {path}: {error.strerror or error}") from error
    return SchedulerAddress(url, Certificates(ca, cert, key))


def parts_are_wrong(url: str, host: str | None, port: int | None) -> bool:
    """Whether this is anything but tls://HOST:PORT or tcp://HOST:PORT."""
    scheme, _, rest = url.partition("://")
    return scheme not in ("tls", "tcp") or not host or not port or "/" in rest or "@" in rest
