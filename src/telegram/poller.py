"""Reads the messages of the bot, lets the commands among them be carried out, and answers.

Long polling: one request waits at Telegram until there is something. Owns who is heard (the chats
of TELEGRAM_CHATS), what is too old, that nothing is begun twice, and what of it all is logged. One
message after another; only the wait for a sale goes on beside the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from config import Settings
from runtime.unwritable import describe_unwritable
from telegram.commands import MENU, Commands
from telegram.health import PAUSES_SECONDS, Health
from telegram.memory import Memory
from telegram.messages import (
    Command,
    Message,
    read_chat_id,
    read_command,
    read_message,
    read_update_id,
)
from utils.log_events import LogEvent, log_event
from utils.telegram_client import (
    Answer,
    TelegramClient,
    TelegramError,
    TokenRefused,
    TooManyRequests,
    split_message,
)
from utils.waiting import wait_for_event

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_AGE_SECONDS = 90.0  # an older command is not carried out: who sent it has given up, or forgot
BEAT_PAUSE_SECONDS = 30.0
COMMAND_SECONDS = 75.0  # longer than a close waits
SEND_TRIES = 4
MAX_SEND_PAUSE_SECONDS = 60.0
END_SECONDS = 2.0


class Poller:
    """Use `run` once. `stop` may be called from a signal's handler of the loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = TelegramClient(settings)
        self._memory = Memory(settings)
        self._commands = Commands(settings, max_age_seconds=MAX_AGE_SECONDS)
        self._stopping = asyncio.Event()
        self._sales: set[asyncio.Task[None]] = set()
        self._offset: int | None = None
        self._memory.forget_strangers(settings.telegram_chats)
        self._health = Health(settings, self._memory.strangers)
        self._name: str | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Until it is asked to stop. Whatever Telegram, the network or the database do."""
        self._health.note()
        async with self._client:
            chats = len(self._settings.telegram_chats)
            log_event(log, LogEvent.TELEGRAM_STARTED, pid=os.getpid(), chats=chats)
            while not self._stopping.is_set():
                work = asyncio.ensure_future(self._turn())
                stopping = asyncio.ensure_future(self._stopping.wait())
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    await asyncio.wait({work}, timeout=END_SECONDS)
                stopping.cancel()
                if not work.done():
                    work.cancel()
                await asyncio.gather(work, stopping, return_exceptions=True)
            for sale in self._sales:  # its request stays, and is told of at the next start
                sale.cancel()
            await asyncio.gather(*self._sales, return_exceptions=True)
        log_event(log, LogEvent.TELEGRAM_STOPPED, pid=os.getpid())

    async def _turn(self) -> None:
        """One request, and all that it brought."""
        self._health.note()
        try:
            await self._greet()
            answer = await self._or_stop(self._client.get_updates(self._offset))
            if answer is None:
                return
            received_at = time.monotonic()
            self._health.note_answer()
            # Confirmed now, if there was anything: it must not stand in the way of a lower one.
            self._offset = None
            for raw in answer.result:
                self._health.note()
                now = answer.server_time + time.monotonic() - received_at
                if (update_id := read_update_id(raw)) is not None:
                    self._offset = max(self._offset or 0, update_id + 1)
                try:
                    await self._take(raw, now)
                except Exception:  # noqa: BLE001 - of one message: it must not come again for ever
                    log_event(log, LogEvent.TELEGRAM_FAILED, traceback=True)
        except TelegramError as error:
            await self._pause(self._health.note_failure(error))
        except Exception as error:  # noqa: BLE001 - the top of a turn: the next one goes on
            log_event(log, LogEvent.TELEGRAM_FAILED, traceback=True)
            fault = TelegramError(f"a fault of the program: {type(error).__name__}")
            await self._pause(self._health.note_failure(fault))

    async def _greet(self) -> None:
        """Once: ask who we are, offer the menu, and say what was left unanswered."""
        if self._name is not None:
            return
        name = await self._client.get_name()
        with contextlib.suppress(TelegramError):  # it is only a convenience
            await self._client.set_commands(MENU)
        self._name = name
        self._health.note(name=name)
        for chat_id, text in self._memory.take_unanswered():
            if chat_id not in self._settings.telegram_chats:  # not any more
                continue
            log_event(log, LogEvent.TELEGRAM_INTERRUPTED, chat=chat_id)
            await self._send(
                chat_id,
                f"I was interrupted at your {text!r} and do not know what came of it. It is not"
                " carried out again: see /status.",
            )

    # One update

    async def _take(self, raw: object, now: float) -> None:
        """`now`: epoch seconds, by the clock that messages are stamped with."""
        update_id, chat_id = read_update_id(raw), read_chat_id(raw)
        if update_id is None or chat_id is None or self._memory.has_begun(update_id):
            return
        if chat_id not in self._settings.telegram_chats:
            return self._ignore(update_id, chat_id)
        message = read_message(raw)
        command = read_command(message.text, self._name or "") if message else None
        if message is None or command is None:
            if message is not None and message.is_private:
                await self._send(chat_id, "I know commands only: /help")
            return
        try:
            self._memory.begin(message)
        except OSError as error:
            reason = describe_unwritable(error, self._settings)
            return await self._send(chat_id, f"nothing was done: {reason}")
        age_seconds = now - message.sent_at
        if age_seconds > MAX_AGE_SECONDS:
            log_event(log, LogEvent.TELEGRAM_EXPIRED, chat=chat_id, age_seconds=round(age_seconds))
            text = f"Your {message.text[:60]!r} was read {age_seconds:.0f} seconds after you sent"
            text += " it: it was not carried out. Send it again if it is still what you want."
            return await self._answer(message, text)
        await self._carry_out(message, command)

    def _ignore(self, update_id: int, chat_id: int) -> None:
        with contextlib.suppress(OSError):  # then it is told of again
            if self._memory.count_stranger(update_id, chat_id):
                reason = f"if it is yours, add {chat_id} to TELEGRAM_CHATS in .env"
                log_event(log, LogEvent.TELEGRAM_STRANGER, mail=True, key=chat_id, reason=reason)
        self._health.note(strangers=self._memory.strangers)

    async def _carry_out(self, message: Message, command: Command) -> None:
        """What takes long (a sale) goes on beside the next message; the rest is done in order."""
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            """From the command's own thread; it waits for nothing."""
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.run_coroutine_threadsafe(self._send(message.chat_id, text), loop)

        found = await self._result(lambda: self._commands.carry_out(message, command, say), command)
        if isinstance(found, str):
            return await self._finish(message, command, found)
        task = asyncio.create_task(self._wait_for(message, command, found))
        self._sales.add(task)
        task.add_done_callback(self._sales.discard)

    async def _wait_for(self, message: Message, command: Command, rest: Callable[[], str]) -> None:
        await self._finish(message, command, await self._result(rest, command))

    async def _result(self, work: Callable[[], T], command: Command) -> T | str:
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await in_thread(work)
        except TimeoutError:
            return "That takes too long, and what comes of it is not known yet: see /status."
        except Exception:  # noqa: BLE001 - of one command: the next is carried out all the same
            log_event(log, LogEvent.TELEGRAM_FAILED, command=command.name, traceback=True)
            return "That failed, by a fault of the program: LOG_DIR/telegram.log has it."

    async def _finish(self, message: Message, command: Command, text: str) -> None:
        outcome = text.partition("\n")[0][:100]
        chat, sender = message.chat_id, message.sender
        log_event(
            log,
            LogEvent.TELEGRAM_COMMANDED,
            command=command.name,
            chat=chat,
            sender=sender,
            outcome=outcome,
        )
        await self._answer(message, text)

    # Answers

    async def _answer(self, message: Message, text: str) -> None:
        await self._send(message.chat_id, text)
        with contextlib.suppress(OSError):  # it is then told of as interrupted, which does no harm
            self._memory.end(message)

    async def _send(self, chat_id: int, text: str) -> None:
        """Every part of it, or say in the log why not. Sent twice it does no harm."""
        for part in split_message(text):
            for left in reversed(range(SEND_TRIES)):
                try:
                    await self._client.send_message(chat_id, part)
                    break
                except TelegramError as error:
                    if left == 0 or isinstance(error, TokenRefused):
                        log_event(log, LogEvent.TELEGRAM_UNANSWERED, chat=chat_id, reason=error)
                        return
                    self._health.note()
                    await self._pause(min(self._pause_after(error, left), MAX_SEND_PAUSE_SECONDS))

    def _pause_after(self, error: TelegramError, left: int) -> float:
        if isinstance(error, TooManyRequests):
            return error.retry_after_seconds
        return PAUSES_SECONDS[SEND_TRIES - 1 - left]

    # Waiting

    async def _pause(self, seconds: float) -> None:
        """Alive all the while, however long Telegram wants us to wait."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stopping.is_set():
            self._health.note()
            await wait_for_event(self._stopping, min(left, BEAT_PAUSE_SECONDS))

    async def _or_stop(self, work: Coroutine[Any, Any, Answer]) -> Answer | None:
        """Its result; None when we are to stop first: nothing that it brings is lost."""
        asking = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            stopping.cancel()
            asking.cancel()


async def in_thread(work: Callable[[], T]) -> T:
    """Its result, from a thread of its own that holds up no exit of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            outcome = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, *outcome)

    threading.Thread(target=run, name="telegram", daemon=True).start()
    return await done
