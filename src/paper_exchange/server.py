"""Puts the parts together behind one port on 127.0.0.1, feeds the market, ends the days."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from paper_exchange.api.data_rest import MarketDataApi
from paper_exchange.api.data_stream import DataStream
from paper_exchange.api.http_faults import Handler, handle_with_faults
from paper_exchange.api.http_json import refusal_response
from paper_exchange.api.rest import TradingApi
from paper_exchange.api.trade_stream import TradeStream
from paper_exchange.api.wire import account_id
from paper_exchange.control import Control
from paper_exchange.core.clock import Clock
from paper_exchange.core.config import ExchangeConfig, MarketKind
from paper_exchange.core.errors import ApiError
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.journal import Journal, StateFileError
from paper_exchange.core.prices import Quote, moved
from paper_exchange.core.state import TradeUpdate
from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.table import Seam
from paper_exchange.quotes.pacing import MarketFeed
from paper_exchange.quotes.replay import ReplayError, load_recording, replay_quotes
from paper_exchange.quotes.synthetic import TimedQuote, synthetic_quotes

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Urls:
    trading_url: str
    data_url: str
    data_stream_url: str
    trading_stream_url: str
    control_url: str

    @classmethod
    def at_port(cls, port: int) -> "Urls":
        http, ws = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
        return cls(http, http, f"{ws}/v1beta3/crypto/us", f"{ws}/stream", f"{http}/control")

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class PaperExchange:
    """`start` and `stop` belong to one event loop; `stopping` is set when it shall end."""

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        self.config = config or ExchangeConfig()
        self.urls: Urls | None = None
        self.stopping = asyncio.Event()
        self.faults = FaultBoard(self.config.seed)
        self.clock = Clock(self.faults)
        self.exchange = Exchange(self.config, self.clock, self._schedule, self.faults)
        self.failure: StateFileError | None = None
        """Why it ended by itself: the state file could not be written."""
        self._journal = self._open_journal()
        self.data_stream = DataStream(self.exchange)
        self.trade_stream = TradeStream(self.exchange)
        self.trading_api = TradingApi(self.exchange)
        self.data_api = MarketDataApi(self.exchange)
        self.exchange.tick_listeners.append(self.data_stream.on_tick)
        self.data_stream.sent_listeners.append(self.exchange.quotes_sent.on_sent)
        self.exchange.trade_update_listeners += [self.trade_stream.on_trade_update, _log_update]
        self.feed = self._build_feed()
        self.control = Control(
            exchange=self.exchange,
            trading_api=self.trading_api,
            data_api=self.data_api,
            data_stream=self.data_stream,
            trade_stream=self.trade_stream,
            feed=self.feed,
            request_shutdown=self.stopping.set,
        )
        for fault in self.config.faults:
            self.faults.arm(fault)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Urls:
        """Listens and starts the market. Raises OSError when the port is taken."""
        app = web.Application(middlewares=[self._answer_errors, self._admit])
        self.trading_api.add_routes(app.router)
        self.data_api.add_routes(app.router)
        self.control.add_routes(app.router)
        app.router.add_get("/v1beta3/crypto/us", self.data_stream.handle)
        app.router.add_get("/stream", self.trade_stream.handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.config.port).start()
        self.urls = Urls.at_port(self._runner.addresses[0][1])
        self.exchange.resume()
        self._spawn(self._close_days())
        if self.feed is not None:
            self._spawn(self.feed.run())
        return self.urls

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.data_stream.close()
        self.trade_stream.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._journal is not None:
            self._journal.close()

    def _open_journal(self) -> Journal | None:
        """Raises StateFileError."""
        if self.config.state_file is None:
            return None
        account = account_id(self.config.key)
        journal = Journal(self.config.state_file, account_id=account, on_failure=self._fail)
        journal.attach(self.exchange)
        return journal

    def _fail(self, error: StateFileError) -> None:
        self.failure = error
        self.stopping.set()

    def _schedule(
        self, delay_seconds: float, function: Callable[..., None], *args: object
    ) -> object:
        loop = asyncio.get_running_loop()
        if delay_seconds <= 0:
            return loop.call_soon(function, *args)
        return loop.call_later(delay_seconds, function, *args)

    def _build_feed(self) -> MarketFeed | None:
        market, assets = self.config.market, self.exchange.assets
        found = {name: assets.find(name) for name in market.symbols}
        if unknown := [name for name, asset in found.items() if asset is None]:
            raise ReplayError(f"unknown symbols: {', '.join(unknown)}")
        symbols = {asset.symbol for asset in found.values() if asset is not None}
        match market.kind:
            case MarketKind.MANUAL:
                return None
            case MarketKind.SYNTHETIC:
                chosen = [one for one in assets.all() if not symbols or one.symbol in symbols]
                source = synthetic_quotes(chosen, self.config.seed)
            case MarketKind.REPLAY:
                start, end = market.replay_from_ns, market.replay_until_ns
                recordings = [
                    load_recording(path, assets, symbols=symbols, from_ns=start, until_ns=end)
                    for path in market.replay_files
                ]
                if not any(recordings):
                    raise ReplayError("the recording has no quotes of these symbols in this window")
                source = replay_quotes(recordings)
        return MarketFeed(source, self._post, speed=market.speed, paused=market.paused)

    def _post(self, timed: TimedQuote) -> None:
        now_ns = self.clock.now_ns()
        quote = Quote(timed.symbol, timed.bid, timed.bid_size, timed.ask, timed.ask_size, now_ns)
        for fault in self.faults.visit(Seam.MARKET, symbol=timed.symbol):
            step = self.exchange.asset(timed.symbol).price_increment
            quote = moved(quote, fault.number("percent"), step)
        self.exchange.post_quote(quote)

    async def _close_days(self) -> None:
        """After every midnight UTC."""
        while True:
            now = datetime.now(UTC)
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            await asyncio.sleep((midnight - now).total_seconds() + 1)
            self.exchange.end_day()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(_report_failure)
        self._tasks.append(task)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as refusal:
            return refusal_response(refusal)
        except web.HTTPException as error:
            return web.json_response({"message": error.reason}, status=error.status)

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks keys (of /v2 only) and rate limit, and applies the faults of requests."""
        if request.path.startswith("/v1beta3/crypto/us/"):
            headers = self.data_api.meter.admit()
        elif request.path.startswith("/v2/"):
            headers = self.trading_api.admit(request)
        else:
            return await handler(request)
        try:
            response = await handle_with_faults(request, handler, self.faults)
        except ApiError as refusal:
            refusal.headers = {**headers, **refusal.headers}
            raise
        response.headers.update(headers)
        return response


def _log_update(update: TradeUpdate) -> None:
    order = update.order
    log.info(
        "order.%s symbol=%s side=%s type=%s qty=%s price=%s filled=%s client_order_id=%s",
        update.event.value,
        order.symbol,
        order.side.value,
        order.type.value,
        update.qty or order.qty or order.notional,
        update.price or order.limit_price or "market",
        order.filled_qty,
        order.client_order_id,
    )


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("exchange.task_failed", exc_info=error)
