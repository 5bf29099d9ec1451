"""How a host is reached, as the environment says: proxy, netrc and CA bundle, looked up once.

Owns: that loopback is never reached through a proxy, and the one TLS context of each CA bundle.
The environment is read with the functions of `requests` and means the same as to it.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import Url, parse_url

from config import is_loopback

_USUAL_PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """Nothing usable came back. The message names the trouble and no secret."""


@dataclass(frozen=True, slots=True)
class Way:
    """To one host. `head`: the lines that every request to it has."""

    host: str
    port: int
    head: str
    tls: ssl.SSLContext | None  # None: unencrypted, which is on loopback only
    proxy: Url | None
    proxy_headers: Mapping[str, str]

    def make_line(self, timeout_seconds: float) -> HTTPConnection:
        """A connection that is not open yet; opened, it is through with TLS, too."""
        seconds = timeout_seconds
        if self.tls is None:
            return HTTPConnection(self.host, self.port, timeout=seconds)
        if self.proxy is None:
            return HTTPSConnection(self.host, self.port, timeout=seconds, ssl_context=self.tls)
        scheme = self.proxy.scheme or "http"
        line = HTTPSConnection(
            self.proxy.host or "",
            self.proxy.port or _USUAL_PORTS[scheme],
            timeout=seconds,
            ssl_context=self.tls,
            proxy=self.proxy,
            proxy_config=ProxyConfig(self.tls, False, None, None),
        )
        line.set_tunnel(self.host, self.port, self.proxy_headers, scheme=scheme)
        return line


def look_up_way(origin: str) -> Way:
    """What the environment says of `origin`.

    Raises:
        NoAnswer: it names what cannot be used.
    """
    parts = urlsplit(origin)
    host = parts.hostname or ""
    port = parts.port or _USUAL_PORTS[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    head = f"Host: {name if port == _USUAL_PORTS[parts.scheme] else f'{name}:{port}'}\r\n"
    head += "Accept: */*\r\nAccept-Encoding: gzip\r\n"
    said = requests.Session().merge_environment_settings(origin, {}, False, None, None)
    proxy = None
    if not is_loopback(host):  # proxies and netrc are for other machines
        proxy = select_proxy(origin, said["proxies"])
        prepared = requests.Session().prepare_request(requests.Request("GET", origin))
        if from_netrc := prepared.headers.get("Authorization"):
            head += f"Authorization: {from_netrc!s}\r\n"
    tls = _make_tls_context(said["verify"]) if parts.scheme == "https" else None
    if not proxy:
        return Way(host, port, head, tls, None, {})
    url = parse_url(prepend_scheme_if_needed(proxy, "http"))
    if url.scheme not in _USUAL_PORTS:
        raise NoAnswer(f"a proxy of the kind {url.scheme} cannot be used")
    return Way(host, port, head, tls, url, HTTPAdapter().proxy_headers(proxy))


@functools.lru_cache(maxsize=4)
def _make_tls_context(bundle: str | bool) -> ssl.SSLContext:
    """One for all hosts: reading the CA bundle takes 20 ms."""
    path = certifi.where() if isinstance(bundle, bool) else bundle
    is_folder = os.path.isdir(path)
    try:
        return ssl.create_default_context(
            cafile=None if is_folder else path, capath=path if is_folder else None
        )
    except OSError as error:
        raise NoAnswer(f"the CA bundle {path} cannot be used: {error}") from error
