"""The process that serves the page of a measured daemon, and requests to it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from local_stack.benchmark.clients import START_SECONDS, Client
from local_stack.exchange_process import StackError
from mariadb_server.endpoint import free_port
from runtime.daemon_process import last_line

_CPU_CLOCK_OF_PROCESS = 2  # see local_stack.benchmark.clients
_SECONDS = aiohttp.ClientTimeout(total=60)


class PageProcess:
    """`python -m cli.web` beside `client`, with the same settings."""

    def __init__(self, client: Client, settings: Mapping[str, str]) -> None:
        self._client = client
        self._port = free_port()
        own = {"WEB": "on", "WEB_HOST": "127.0.0.1", "WEB_PORT": str(self._port)}
        self._environment = {**client.environment(), **settings, **own}
        self._process: subprocess.Popen[bytes] | None = None
        self._csrf = ""
        self.updates = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def _output(self) -> Path:
        return self._client.folder / "page.out"

    async def start(self) -> None:
        """And sign in.

        Raises:
            StackError: it does not answer.
        """
        checkout = self._client.checkout
        with open(self._output, "ab") as output:
            self._process = subprocess.Popen(
                [checkout.python, "-P", "-m", "cli.web"],
                env=self._environment,
                cwd=checkout.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        jar = aiohttp.CookieJar(unsafe=True)  # of an address, not of a name
        self._session = aiohttp.ClientSession(self.address, timeout=_SECONDS, cookie_jar=jar)
        deadline = time.monotonic() + START_SECONDS
        while not await self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"the page does not answer: {last_line(self._output)}")
            await asyncio.sleep(0.05)  # the pause of a poll with a bound
        token = (await self.link()).partition("#token=")[2]
        await self.post("/api/session", {"token": token})
        self._csrf = (await self.get("/api/session"))["csrf"]

    async def _answers(self) -> bool:
        try:
            async with self._session.get("/healthz"):
                return True
        except aiohttp.ClientError:
            return False

    async def link(self) -> str:
        """What opens it, signed in."""
        checkout = self._client.checkout
        done = await asyncio.to_thread(
            subprocess.run,
            [checkout.python, "-P", "-m", "cli.web", "link"],
            env=self._environment,
            cwd=checkout.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"scripts/web link: {done.stderr.strip()}")
        return done.stdout.strip().splitlines()[-1]

    async def get(self, path: str) -> Any:
        async with self._session.get(path) as answer:
            return await self._read(path, answer)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Origin": self.address, "X-CSRF-Token": self._csrf}
        async with self._session.post(path, json=body, headers=headers) as answer:
            return await self._read(path, answer)

    async def _read(self, path: str, answer: aiohttp.ClientResponse) -> Any:
        """Raises StackError: it was refused."""
        said = await answer.read()
        if answer.status >= 400:
            raise StackError(f"{path}: {answer.status} {said[:200].decode(errors='replace')}")
        return json.loads(said) if said else None

    async def watch(self) -> None:
        """Be a viewer, until cancelled."""
        no_limit = aiohttp.ClientTimeout(total=None)
        async with self._session.get("/api/live", timeout=no_limit) as answer:
            async for line in answer.content:
                self.updates += line.startswith(b"event: status")

    # What it costs

    def cpu_seconds(self) -> float:
        """User and system time of all its threads since its start."""
        return time.clock_gettime((~self.pid << 3) | _CPU_CLOCK_OF_PROCESS)

    def megabytes(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    async def stop(self) -> None:
        """At once: it holds nothing. (Its own processes end with it.)"""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None
            await self._session.close()
