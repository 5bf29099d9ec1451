"""Loaded by the process that speaks to a service, in tests that put this folder on its path: what
would go to a service on the net goes to the test's own server, as `/<host>/<path>`.
"""

import os
from urllib.parse import urlsplit

import requests

_request = requests.Session.request


def _to_the_test(self, method, url, *arguments, **options):
    parts = urlsplit(url)
    if parts.hostname != "127.0.0.1":
        url = f"{os.environ['ALERT_SERVICES']}/{parts.hostname}{parts.path}"
    return _request(self, method, url, *arguments, **options)


requests.Session.request = _to_the_test
