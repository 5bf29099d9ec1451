"""The exchange's own records as JSON, to check invariants with afterwards. Reads only."""

from dataclasses import asdict

from paper_exchange.api import wire
from paper_exchange.core.activities import ExecutionRecord
from paper_exchange.core.clock import rfc3339
from paper_exchange.core.decimals import plain
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.orders import Order
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import Step


def ledger_json(exchange: Exchange) -> wire.Json:
    """Everything that ever happened.

    Orders (closed ones too), executions, fees, activities, balances; `steps` are all updates of
    all orders in the order in which they happened, with the true time; `quotes_sent` are the usable
    quotes of a sell's symbol that the data stream sent in the seconds before it was taken, and
    `extremes_sent` the lowest and the highest bid of those since a buy filled last.
    """
    return {
        "account_id": wire.account_id(exchange.config.key),
        "orders": [order_shape(exchange, order) for order in exchange.book.oldest_first()],
        "executions": [_execution_json(one) for one in exchange.activities.executions],
        "steps": [_step_json(one) for one in exchange.steps],
        "activities": [wire.activity_json(exchange, one) for one in exchange.activities.all],
        "adjustments": [
            asdict(one) | {"amount": plain(one.amount)} for one in exchange.adjustments
        ],
        "balances": balances_json(exchange),
        "quotes_sent": {
            order_id: [
                {"bid": str(quote.bid), "ask": str(quote.ask), "seconds_before": seconds}
                for quote, seconds in sent
            ]
            for order_id, sent in exchange.quotes_sent.before_orders.items()
        },
        "extremes_sent": {
            order_id: {"lowest": str(lowest), "highest": str(highest)}
            for order_id, (lowest, highest) in exchange.quotes_sent.extremes_before_orders.items()
        },
    }


def balances_json(exchange: Exchange) -> wire.Json:
    held = exchange.account
    return {
        "initial_cash": plain(exchange.initial_cash),
        "cash": plain(held.cash),
        "cash_available": plain(held.available_usd()),
        "equity": plain(exchange.equity()),
        "positions": [wire.position_json(exchange, one) for one in held.positions()],
        "coins": {
            one.symbol: {
                "qty": plain(one.qty),
                "qty_available": plain(held.available_coins(one.symbol)),
                "avg_entry_price": plain(one.avg_entry_price),
            }
            for one in held.positions()
        },
    }


def order_shape(exchange: Exchange, order: Order) -> wire.Json:
    """An order as on the wire, and what the wire does not show."""
    shape = wire.order_json(order, exchange.asset(order.symbol))
    return shape | {
        "collar_price": None if order.collar_price is None else plain(order.collar_price),
        "is_taker": order.is_taker,
        "is_held": order.is_held,
        "fills_in_two_parts": order.first_part is not None,
    }


def quote_json(quote: Quote) -> wire.Json:
    return {
        "bid": str(quote.bid),
        "bid_size": str(quote.bid_size),
        "ask": str(quote.ask),
        "ask_size": str(quote.ask_size),
        "at": rfc3339(quote.at_ns),
    }


def _step_json(step: Step) -> wire.Json:
    update = step.update
    return {
        "order_id": update.order.id,
        "event": update.event.value,
        "qty": None if update.qty is None else plain(update.qty),
        "price": None if update.price is None else plain(update.price),
        "at": rfc3339(step.true_ns),
    }


def _execution_json(execution: ExecutionRecord) -> wire.Json:
    return {
        "execution_id": execution.execution_id,
        "order_id": execution.order_id,
        "client_order_id": execution.client_order_id,
        "symbol": execution.symbol,
        "side": execution.side.value,
        "qty": plain(execution.qty),
        "price": plain(execution.price),
        "fee_coins": plain(execution.fee.coins),
        "fee_usd": plain(execution.fee.usd),
        "is_maker": execution.is_maker,
        "at": rfc3339(execution.at_ns),
    }
