"""One connection to the database: the driver's, without what it does anew for every packet.

Owns: how a statement is sent and its whole answer taken, and whether the line can still be used.
Must never open a lost connection again and never repeats a statement: the caller knows whether it
may. Escaping, conversion and the protocol stay the driver's.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.connection import MySQLConnection
from mysql.connector.cursor import RE_PY_PARAM, MySQLCursor, _ParamSubstitutor
from mysql.connector.network import MySQLSocket, NetworkBrokerPlain
from mysql.connector.protocol import MySQLProtocol

from domain.rows import Row

_READ_BYTES = 65536
_parse_column = lru_cache(maxsize=4096)(MySQLProtocol.parse_column)


class _Protocol(MySQLProtocol):
    """A statement describes its columns in the same bytes each time: they are parsed once."""

    @staticmethod
    def parse_column(packet: bytes, encoding: str = "utf-8") -> Any:
        return _parse_column(bytes(packet), encoding)


class _ReadingAhead(NetworkBrokerPlain):
    """Takes all that has arrived at once; the driver's own asks the kernel twice for a packet, and
    an answer has a packet for each column and each row.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead = bytearray()

    def _recv_chunk(self, sock: Any, size: int = 0) -> bytearray:
        while len(self.ahead) < size:
            arrived = sock.recv(_READ_BYTES)
            if not arrived:
                raise mysql.connector.InterfaceError(errno=2013)
            self.ahead += arrived
        chunk = self.ahead[:size]
        del self.ahead[:size]
        return chunk


class _Statement(MySQLCursor):
    """The driver's own escaping of values; nothing is sent by it."""

    def with_values(self, query: bytes, params: Sequence[Any]) -> bytes:
        escaped: Any = self._process_params(params)
        values = _ParamSubstitutor(escaped)
        statement: bytes = RE_PY_PARAM.sub(values, query)
        if values.remaining:
            raise mysql.connector.ProgrammingError("Not all parameters were used")
        return statement


class DatabaseConnection(MySQLConnection):
    """As `MySQLConnection`; it reads ahead, and is closed if an answer was not read to its end."""

    def _get_connection(self) -> MySQLSocket:
        self._protocol = _Protocol()  # this is called for each new line, with a protocol of its own
        self._broker = _ReadingAhead()
        line = super()._get_connection()
        line._netbroker = self._broker
        return line

    def cmd_query(self, *args: Any, **kwargs: Any) -> Any:
        """As the driver's; after half an answer the line is closed."""
        try:
            return super().cmd_query(*args, **kwargs)
        except BaseException as error:
            self._close_after(error)
            raise

    def get_rows(self, *args: Any, **kwargs: Any) -> Any:
        """As the driver's; after half an answer the line is closed."""
        try:
            return super().get_rows(*args, **kwargs)
        except BaseException as error:
            self._close_after(error)
            raise

    def _close_after(self, error: BaseException) -> None:
        """Nobody knows what would come over the line next: the rest of that answer, perhaps, as if
        it were the next one's. Only an error that the server sent is a whole answer.
        """
        if not getattr(error, "sqlstate", None):
            self.abandon()

    def abandon(self) -> None:
        """Close the line without a word to the server."""
        self.shutdown()
        self.unread_result = False  # or the driver would refuse to open it again

    def looks_lost(self) -> bool:
        """Whether the server closed the idle line, or said that it will: without asking it, so a
        line that died silently looks well.
        """
        line = getattr(self, "_socket", None)
        if line is None or line.sock is None or line.sock.fileno() < 0:
            return True
        poller = select.poll()
        poller.register(line.sock, select.POLLIN)
        if not self._broker.ahead and not poller.poll(0):
            return False
        # Of TLS there can be something to read that is none of ours.
        return not (isinstance(line.sock, ssl.SSLSocket) and self.is_connected())


def run(
    connection: MySQLConnectionAbstract, query: str, params: Sequence[Any] = ()
) -> tuple[dict[str, Any], list[Row]]:
    """Send one statement and take its whole answer: what the server says of it, and its rows.

    Raises:
        mysql.connector.Error: with `sqlstate` where the server said so: the line goes on.
    """
    driver: Any = connection  # whose types are narrower than what it takes
    statement = query.encode()
    if params:
        statement = _Statement(driver).with_values(statement, params)
    answer: dict[str, Any] = driver.cmd_query(statement)
    if "columns" not in answer:
        return answer, []
    names = [column[0] for column in answer["columns"]]
    rows, _ = driver.get_rows()
    return answer, [dict(zip(names, row, strict=True)) for row in rows]


def looks_lost(connection: MySQLConnectionAbstract) -> bool:
    """As `DatabaseConnection.looks_lost`; a connection of the plain driver is asked."""
    if isinstance(connection, DatabaseConnection):
        return connection.looks_lost()
    return not connection.is_connected()
