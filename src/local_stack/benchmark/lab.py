"""Everything that a measurement needs: database server, exchange, clients. Ends all of it.

async with Lab(folder, report) as lab:
    daemon = lab.daemon(this_checkout(), symbols)
    await lab.start([daemon])
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local_stack.benchmark.checkout import Checkout, this_checkout
from local_stack.benchmark.clients import RIVALS, START_SECONDS, Client, Urls
from local_stack.benchmark.database import ClientDatabase, start_server
from local_stack.benchmark.exchange import Exchange
from local_stack.exchange_process import StackError
from mariadb_server.endpoint import HOST

# A stream that waits while others are measured is not silent, and no sweep runs in between.
_SETTINGS = {"STREAM_SILENCE_SECONDS": "3600", "HEARTBEAT_SECONDS": "1", "ALPACA_PAPER": "true"}


class Lab:
    """One private server and one exchange for all sections; clients come and go."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.folder, self.report = folder, report
        self.exchange = Exchange()
        self._clients: list[Client] = []
        self._made = 0
        self._tables: dict[Path, ClientDatabase] = {}  # that a checkout has made already

    async def __aenter__(self) -> Lab:
        self.server = await asyncio.to_thread(start_server, self.folder)
        port = await self.exchange.listen()
        self.plain_urls = Urls(f"http://{HOST}:{port}", f"ws://{HOST}:{port}")
        return self

    async def __aexit__(self, *_reason: object) -> None:
        self.stop_clients()
        await self.exchange.stop()
        self.server.stop()

    def database_version(self) -> str:
        with contextlib.closing(self.server.connect()) as connection:
            return f"database {connection.server_info}"

    def daemon(
        self,
        checkout: Checkout,
        symbols: Sequence[str],
        *,
        urls: Urls | None = None,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = ("src/main_app.py",),
    ) -> Client:
        """`python src/main_app.py` of a checkout."""
        return self._client(checkout.name, checkout, command, symbols, urls, settings)

    def rival(
        self,
        name: str,
        script: str,
        *arguments: str,
        symbols: Sequence[str],
        checkout: Checkout | None = None,
        urls: Urls | None = None,
        settings: Mapping[str, str] | None = None,
        has_trade_stream: bool = False,
    ) -> Client:
        """A script of `rivals`, with the packages of a checkout."""
        command = ["-P", str(RIVALS / f"{script}.py"), *arguments]
        checkout = checkout or this_checkout()
        client = self._client(name, checkout, command, symbols, urls, settings)
        client.has_trade_stream = has_trade_stream
        return client

    def _client(
        self,
        name: str,
        checkout: Checkout,
        command: Sequence[str],
        symbols: Sequence[str],
        urls: Urls | None,
        settings: Mapping[str, str] | None,
    ) -> Client:
        self._made += 1
        key = f"benchmark_{self._made}"
        self.server.create_database(key)
        folder = self.folder / key
        folder.mkdir(mode=0o700)
        client = Client(
            name=name,
            checkout=checkout,
            command=command,
            account=self.exchange.open_account(key, symbols),
            database=ClientDatabase(self.server, key),
            folder=folder,
            settings={
                **_SETTINGS,
                **(urls or self.plain_urls).settings(),
                **self.server.db_env(key),
                **(settings or {}),
            },
        )
        self._clients.append(client)
        if (known := self._tables.get(checkout.root)) is not None:
            client.database.copy_tables(known)
        else:
            client.create_tables()
            self._tables[checkout.root] = client.database
        client.database.open()
        return client

    async def start(self, clients: Sequence[Client], *, settle: bool = True) -> None:
        """Start them and return when each has its streams, with `settle` when it also rests.

        Raises:
            StackError: one ended or did not get there in time.
        """
        for client in clients:
            client.start()
        for client in clients:
            await self._wait_for_streams(client)
            if settle:
                await client.wait_until_idle(10.0)

    async def _wait_for_streams(self, client: Client) -> None:
        key, trade = client.account.key, client.has_trade_stream
        for _ in range(int(START_SECONDS)):
            if await self.exchange.wait_for_streams(key, 1.0, trade=trade):
                return
            client.complain_if_ended()
        raise StackError(f"{client.name} did not connect within {START_SECONDS:.0f} s")

    def stop_clients(self) -> None:
        for client in self._clients:
            client.stop()
            client.database.close()
        self._clients.clear()
