"""All settings of the bot, read once from the process environment and the `.env` file.

Owns: names, defaults and checks of settings; what counts as live trading. Every other module calls
`get_settings()` and never reads `os.environ`. Must never print or log a secret value.
Not on pydantic: importing it takes as long as a whole watchdog, which cron starts each minute.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dotenv.parser import Binding, parse_stream

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PAPER_TRADING_HOST = "paper-api.alpaca.markets"
LIVE_TRADING_HOST = "api.alpaca.markets"
_URL_NAMES = (
    "ALPACA_TRADING_URL",
    "ALPACA_DATA_URL",
    "ALPACA_DATA_STREAM_URL",
    "ALPACA_TRADING_STREAM_URL",
)
_IS_MISSING = " is missing: set it in .env"
_ALPACAS_NAMES = {"APCA_API_KEY_ID": "ALPACA_API_KEY", "APCA_API_SECRET_KEY": "ALPACA_SECRET_KEY"}


class Topic(StrEnum):
    """What ALERT_ON can name."""

    ERRORS = "errors"
    SALES = "sales"
    BUYS = "buys"
    DAILY = "daily"


class SettingsError(Exception):
    """Settings are missing or malformed. `problems` holds one line each; `str()` joins them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _boolean(raw: str) -> bool:
    lowered = raw.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def _number(low: str, high: str) -> Callable[[str], Decimal]:
    def parse(raw: str) -> Decimal:
        try:
            number = Decimal(raw)
        except InvalidOperation:
            raise ValueError("expected a number") from None
        if not number.is_finite() or not Decimal(low) <= number <= Decimal(high):
            raise ValueError(f"expected a number from {low} to {high}")
        return number

    return parse


def _seconds(low: str, high: str) -> Callable[[str], float]:
    parse_decimal = _number(low, high)
    return lambda raw: float(parse_decimal(raw))


def _whole_number(low: int, high: int, meant: str) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            raise ValueError(f"expected {meant}")
        return int(raw)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    known = {word.lower(): word for word in words}

    def parse(raw: str) -> str:
        if raw.lower() not in known:
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}", raw)
        return known[raw.lower()]

    return parse


def _path(raw: str) -> Path:
    path = Path(raw).expanduser()
    return path if path.is_absolute() else PROJECT_ROOT / path


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc:
            starts = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"expected a URL that starts with {starts}")
        if parts.scheme in ("http", "ws") and not is_loopback(parts.hostname):
            problem = "unencrypted URLs are allowed on loopback only: the keys would be readable"
            raise ValueError(problem)
        return raw.rstrip("/")

    return parse


def _origin(raw: str) -> str:
    url = _url("https", "http")(raw)
    if urlsplit(url).path:
        raise ValueError("expected an origin only, without /v2 or another path")
    return url


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _topics(raw: str) -> frozenset[Topic]:
    parse = _one_of(*Topic)
    words = [word for word in re.split(r"[\s,]+", raw) if word]
    return frozenset(Topic(parse(word)) for word in words)


def _alert_urls(raw: str) -> tuple[str, ...]:
    """Split at blanks, and at commas that a scheme follows: an address may hold others. What a
    service needs, Apprise knows, which takes too long to load here.
    """
    urls = [one for one in re.split(rf"\s*,\s*(?={_SCHEME})|\s+", raw.strip(", ")) if one]
    for number, url in enumerate(urls, start=1):
        if not re.fullmatch(rf"{_SCHEME}\S+", url):
            raise ValueError(f"number {number} is no URL of Apprise's, such as ntfy://topic")
    return tuple(urls)


def _telegram_token(raw: str) -> str:
    if not re.fullmatch(r"[0-9]{3,20}:[A-Za-z0-9_-]{20,}", raw):
        raise ValueError("expected a token as @BotFather writes it, like 123456789:AAF-x4...")
    return raw


def _telegram_chats(raw: str) -> tuple[int, ...]:
    words = [word for word in re.split(r"[\s,]+", raw) if word]
    if not all(re.fullmatch(r"-?[0-9]{1,16}", word) for word in words):
        raise ValueError("expected numbers of chats, like 123456789 or -1001234567890")
    return tuple(dict.fromkeys(int(word) for word in words))


def _names(raw: str) -> tuple[str, ...]:
    words = [word.lower() for word in re.split(r"[\s,]+", raw) if word]
    if not all(re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?", word) for word in words):
        raise ValueError("expected host names, like bot.example.org or bot.example.org:8443")
    return tuple(dict.fromkeys(words))


_SECRET_CHARACTERS = 8  # shorter words of an address are parts of others
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_port = _whole_number(1, 65535, "a port number from 1 to 65535")
_count = _whole_number(0, 1_000_000, "a whole number")
_percent = _number("0", "5")
_limit = _number("0", "1e12")


def _setting(parse: Callable[[str], Any], default: Any = MISSING, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """One field per setting, named like it; `.env.example` is their manual. Compared by identity:
    what depends on settings is made anew after they were read again.

    The secret ones are left out of `repr`.
    """

    alpaca_api_key: str = _setting(str, secret=True)
    alpaca_secret_key: str = _setting(str, secret=True)
    alpaca_paper: bool = _setting(_boolean, True)
    live_trading_confirmed: bool = _setting(_boolean, False)
    alpaca_trading_url: str | None = _setting(_origin, None)
    alpaca_data_url: str | None = _setting(_origin, None)
    alpaca_data_stream_url: str | None = _setting(_url("wss", "ws"), None)
    alpaca_trading_stream_url: str | None = _setting(_url("wss", "ws"), None)
    db_host: str = _setting(str, "127.0.0.1")
    db_port: int = _setting(_port, 3306)
    db_user: str = _setting(str)
    db_password: str = _setting(str, "", secret=True)
    db_name: str = _setting(str)
    db_socket: str | None = _setting(str, None)
    stale_order_seconds: float = _setting(_seconds("1", "86400"), 300.0)
    reconcile_seconds: float = _setting(_seconds("0.5", "3600"), 60.0)
    refresh_seconds: float = _setting(_seconds("0.2", "60"), 3.0)
    heartbeat_seconds: float = _setting(_seconds("0.2", "60"), 5.0)
    heartbeat_max_age_seconds: float = _setting(_seconds("2", "3600"), 30.0)
    # Secret: whoever knows this address can report a dead bot as well.
    heartbeat_url: str | None = _setting(_url("https", "http"), None, secret=True)
    stream_lost_seconds: float = _setting(_seconds("5", "86400"), 600.0)
    stalled_alert_seconds: float = _setting(_seconds("5", "86400"), 600.0)
    unknown_outcome_seconds: float = _setting(_seconds("1", "600"), 30.0)
    stream_silence_seconds: float = _setting(_seconds("2", "3600"), 60.0)
    pid_file: Path = _setting(_path, PROJECT_ROOT / "run" / "main_app.pid")
    log_dir: Path = _setting(_path, PROJECT_ROOT / "logs")
    backup_dir: Path = _setting(_path, PROJECT_ROOT / "backups")
    history_dir: Path = _setting(_path, PROJECT_ROOT / "history")
    sweep_tls_ca: Path | None = _setting(_path, None)
    sweep_tls_cert: Path | None = _setting(_path, None)
    sweep_tls_key: Path | None = _setting(_path, None)
    log_level: str = _setting(_one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO")
    taker_fee_percent: Decimal = _setting(_percent, Decimal("0.25"))
    maker_fee_percent: Decimal = _setting(_percent, Decimal("0.15"))
    minimum_order_usd: Decimal = _setting(_number("0", "1000"), Decimal(10))
    max_quote_jump_percent: Decimal = _setting(_number("0.1", "100"), Decimal(10))
    max_spread_percent: Decimal = _setting(_number("0.01", "100"), Decimal(2))
    max_quote_age_seconds: float = _setting(_seconds("1", "3600"), 15.0)
    max_buy_usd_per_day: Decimal | None = _setting(_limit, None)
    max_position_usd: Decimal | None = _setting(_limit, None)
    max_open_cycles: int | None = _setting(_count, None)
    max_open_loss_usd: Decimal | None = _setting(_number("0.01", "1e12"), None)
    max_loss_usd_per_day: Decimal | None = _setting(_number("0.01", "1e12"), None)
    dump_pause_percent: Decimal | None = _setting(_number("0.1", "99"), None)
    dump_pause_minutes: Decimal = _setting(_number("0.1", "10080"), Decimal(30))
    smtp_host: str | None = _setting(str, None)
    smtp_port: int | None = _setting(_port, None)
    smtp_security: str = _setting(_one_of("starttls", "tls", "plain"), "starttls")
    smtp_ca_file: Path | None = _setting(_path, None)
    smtp_user: str | None = _setting(str, None)
    smtp_password: str | None = _setting(str, None, secret=True)
    alert_from: str | None = _setting(str, None)
    alert_to: str | None = _setting(str, None)
    alert_mails_per_hour: int = _setting(_count, 10)
    # Secret: with most of these addresses anybody can write to, or read, what they are of.
    alert_urls: tuple[str, ...] = _setting(_alert_urls, (), secret=True)
    alert_on: frozenset[Topic] = _setting(_topics, frozenset({Topic.ERRORS}))
    # Secret: whoever knows it can read what the bot is told, and speak for it.
    telegram_token: str | None = _setting(_telegram_token, None, secret=True)
    telegram_chats: tuple[int, ...] = _setting(_telegram_chats, ())
    telegram_api_url: str = _setting(_origin, "https://api.telegram.org")
    web: bool = _setting(_boolean, False)
    web_host: str = _setting(str, "127.0.0.1")
    web_port: int = _setting(_port, 8787)
    web_tls_cert: Path | None = _setting(_path, None)
    web_tls_key: Path | None = _setting(_path, None)
    web_names: tuple[str, ...] = _setting(_names, ())

    @property
    def trading_host(self) -> str:
        """The host that orders go to: it alone decides whether money is real."""
        if self.alpaca_trading_url:
            return urlsplit(self.alpaca_trading_url).hostname or ""
        return PAPER_TRADING_HOST if self.alpaca_paper else LIVE_TRADING_HOST

    @property
    def is_local_exchange(self) -> bool:
        return is_loopback(self.trading_host)

    @property
    def is_live(self) -> bool:
        return not self.is_local_exchange and self.trading_host != PAPER_TRADING_HOST

    @property
    def taker_fee_rate(self) -> Decimal:
        """The taker fee as a fraction (0.0025 for 0.25 percent)."""
        return self.taker_fee_percent / 100

    @property
    def maker_fee_rate(self) -> Decimal:
        """The maker fee as a fraction (0.0015 for 0.15 percent)."""
        return self.maker_fee_percent / 100

    @property
    def sweep_overdue_seconds(self) -> float:
        """A comparison not older than this shows that exchange and database can be reached."""
        return 2 * self.reconcile_seconds + 30

    @property
    def run_dir(self) -> Path:
        """Where the PID file, the heartbeat and the locks of the caretakers live."""
        return self.pid_file.parent

    def secret_values(self) -> list[str]:
        """What must never appear in any output, for the log filter."""
        names = [spec.name for spec in fields(self) if not spec.repr and spec.name != "alert_urls"]
        parts = [part for url in self.alert_urls for part in _parts_of(url)]
        parts += [(self.telegram_token or "").partition(":")[2]]  # where the ":" is written as %3A
        return [value for value in [getattr(self, name) for name in names] + parts if value]


def _parts_of(url: str) -> list[str]:
    """`url` and every part of it that can be a key, longest first: a host can be one as well."""
    rest = url.partition("://")[2]
    words = {word for one in (rest, unquote(rest)) for word in re.split(r"[/:@?&=,]", one)}
    keys = {word for word in words if len(word) >= _SECRET_CHARACTERS and not is_loopback(word)}
    return sorted({url, rest} | keys, key=len, reverse=True)


def read_setting(name: str, text: str) -> Any:
    """The value that `text` gives the setting of this name.

    Raises:
        ValueError: it does not fit; says what would.
    """
    [spec] = [spec for spec in fields(Settings) if spec.name == name]
    return spec.metadata["parse"](text)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Build the settings from `environment` (names to raw text).

    Raises:
        SettingsError: with every problem found, each naming the setting and what would be right.
    """
    settings, problems = inspect_settings(environment)
    if problems:
        raise SettingsError(problems)
    return settings


def inspect_settings(environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings as far as they can be read, and every problem: for tools that report them.

    A malformed setting has its default; a missing one without default is empty text, with which
    nothing can trade.
    """
    raw = {name: text.strip() for name, text in environment.items() if text and text.strip()}
    raw = {ours: raw[alpacas] for alpacas, ours in _ALPACAS_NAMES.items() if alpacas in raw} | raw
    problems: list[str] = []
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        name = spec.name.upper()
        if spec.default is MISSING:
            values[spec.name] = ""
            if name not in raw:
                problems.append(f"{name}{_IS_MISSING}")
        if name in raw:
            try:
                values[spec.name] = spec.metadata["parse"](raw[name])
            except ValueError as error:
                meant, *words = error.args  # of a list, the wrong one alone
                shown = f", not {(words or [raw[name]])[0]!r}" if spec.repr else ""
                problems.append(f"{name}: {meant}{shown}")
    settings = Settings(**values)
    return settings, problems + _cross_checks(settings, raw)


def _cross_checks(settings: Settings, raw: Mapping[str, str]) -> list[str]:
    problems = []
    given = [name for name in _URL_NAMES if name in raw]
    if given and len(given) < len(_URL_NAMES):
        missing = ", ".join(name for name in _URL_NAMES if name not in raw)
        problems.append(f"set all four ALPACA_*_URL settings or none: {missing} missing")
    elif settings.is_live and not settings.live_trading_confirmed:
        problems.append(
            f"orders would go to {settings.trading_host}, where money is real: "
            "set LIVE_TRADING_CONFIRMED=true to allow it, or ALPACA_PAPER=true"
        )
    mail = {"SMTP_HOST", "ALERT_FROM", "ALERT_TO"}
    if mail & raw.keys() and not mail <= raw.keys():
        problems.append(f"mail needs {', '.join(sorted(mail - raw.keys()))} too")
    if bool(settings.smtp_user) != bool(settings.smtp_password):
        problems.append("set both SMTP_USER and SMTP_PASSWORD, or none")
    if settings.heartbeat_max_age_seconds < 3 * settings.heartbeat_seconds:
        problems.append(
            "HEARTBEAT_MAX_AGE_SECONDS must be at least three times HEARTBEAT_SECONDS: "
            "a healthy daemon would be restarted"
        )
    is_plain = settings.smtp_security == "plain" and not is_loopback(settings.smtp_host or "")
    if settings.smtp_password and is_plain:
        problem = "SMTP_SECURITY=plain would send SMTP_PASSWORD readable: use starttls or tls"
        problems.append(problem)
    if bool(settings.web_tls_cert) != bool(settings.web_tls_key):
        problems.append("set both WEB_TLS_CERT and WEB_TLS_KEY, or none")
    elif settings.web_tls_cert is None and not is_loopback(settings.web_host):
        problems.append(
            f"WEB_HOST={settings.web_host} would show the page to the network unencrypted: set"
            " WEB_TLS_CERT and WEB_TLS_KEY, or WEB_HOST=127.0.0.1"
        )
    return problems


def env_file() -> Path:
    """The file the settings are read from: ENV_FILE, else `.env` in the project's root."""
    return _path(os.environ.get("ENV_FILE") or ".env")


def find_loose_permissions() -> str | None:
    """Who else can read or change the file with the keys, for a person; None: nobody can."""
    try:
        mode = env_file().stat().st_mode
    except OSError:
        return None
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    who = "everybody on this machine" if mode & stat.S_IRWXO else "its group"
    what = "change" if mode & (stat.S_IWGRP | stat.S_IWOTH) else "read"
    return f"{who} can {what} {env_file().name}, where the keys are"


def setting_names() -> set[str]:
    """Every name that means something in `.env`."""
    return {spec.name.upper() for spec in fields(Settings)} | _ALPACAS_NAMES.keys()


def read_env_file() -> dict[str, str]:
    """What the file says, alone; nothing when there is none.

    Raises:
        SettingsError: it cannot be read, or a line is no setting: a mistyped buy limit must not be
            ignored. The message leaves out the line's text, which may be a secret.
    """
    values, problems = _inspect_env_file()
    if problems:
        raise SettingsError(problems)
    return values


def _inspect_env_file() -> tuple[dict[str, str], list[str]]:
    """What can be read of the file, and a line for each of its lines that cannot."""
    name = env_file().name
    try:
        return parse_env_text(env_file().read_text("utf-8"))
    except FileNotFoundError:
        return {}, []
    except UnicodeDecodeError:
        return {}, [f"cannot read {name}: save it as plain text in UTF-8"]
    except OSError as error:
        cure = "make it yours to read" if isinstance(error, PermissionError) else "see ls -l"
        return {}, [f"cannot read {name}: {error.strerror}: {cure}"]


def parse_env_text(text: str) -> tuple[dict[str, str], list[str]]:
    """What can be read of the text of such a file, and a line for each of its lines that cannot."""
    name, found = env_file().name, list(parse_stream(StringIO(text)))
    wrong = [one for one in found if one.error or _lacks_value(one) or _swallows_settings(one)]
    values = {one.key: one.value or "" for one in found if one.key and one not in wrong}
    problems = [
        f"{name} line {one.original.line}{_what_is_wrong(one.original.string)}" for one in wrong
    ]
    return values, problems


def _lacks_value(binding: Binding) -> bool:
    return binding.key is not None and binding.value is None


def _swallows_settings(binding: Binding) -> bool:
    """A quote that was not closed ends at the next one, and what stands between is not set."""
    rest = "\n".join(binding.original.string.strip().splitlines()[1:])
    names = re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", rest, re.ASCII | re.MULTILINE)
    return bool(setting_names() & {name.upper() for name in names})


def _what_is_wrong(line: str) -> str:
    """Which setting a line seems to mean, and how it must be written; never its value."""
    match = re.match(r"\s*(?:export\s+)?(\w+)\s*(=?)\s*(['\"]?)", line, re.ASCII)
    name = match[1].upper() if match and match[1].upper() in setting_names() else None
    if match and match[2] and match[3]:
        cure = f"its quotes do not close, or something stands behind them: {name or 'NAME'}='value'"
    else:
        cure = f"that is no setting: write {name or 'NAME'}=value, or # before a remark"
    return f" ({name}): {cure}" if name else f": {cure}"


def notify_socket() -> str | None:
    """Where systemd, if it started us, waits for signs of life (sd_notify(3))."""
    return os.environ.get("NOTIFY_SOCKET") or None


def read_environment() -> dict[str, str]:
    """`.env` with the process environment on top.

    Raises:
        SettingsError: see `read_env_file`.
    """
    return {**read_env_file(), **os.environ}


def shell_settings() -> dict[str, str]:
    """Those that the process environment names, and that therefore win over `.env`."""
    return {name: os.environ[name] for name in setting_names() if os.environ.get(name)}


def inspect_environment() -> tuple[Settings, list[str]]:
    """As `inspect_settings`, with what can be read of `.env` and of the process environment, and
    its bad lines among the problems: for what must work whatever is wrong in the file.
    """
    values, bad_lines = _inspect_env_file()
    settings, problems = inspect_settings({**values, **os.environ})
    if bad_lines:  # what is missing may be what one of them means
        problems = bad_lines + [one for one in problems if not one.endswith(_IS_MISSING)]
    return settings, problems


def find_bad_lines() -> list[str]:
    """What in `.env` cannot be read, one line each."""
    return _inspect_env_file()[1]


_settings: Settings | None = None


def get_settings() -> Settings:
    """The settings of this process, read at the first call.

    Raises:
        SettingsError: see `load_settings`.
    """
    global _settings
    if _settings is None:
        environment = read_environment()
        try:
            _settings = load_settings(environment)
        except SettingsError as error:
            raise SettingsError(_without_a_file(error.problems)) from None
    return _settings


def known_settings() -> Settings | None:
    """Those that `get_settings` has read or was given; None: none yet."""
    return _settings


def _without_a_file(problems: list[str]) -> list[str]:
    """Where there is no `.env`, and nothing is set elsewhere, one line instead of one for each."""
    missing = [one.split()[0] for one in problems if one.endswith(_IS_MISSING)]
    needed = sum(spec.default is MISSING for spec in fields(Settings))
    if len(missing) < needed or env_file().exists():
        return problems
    cure = "scripts/setup makes one; fill it in" if env_file().name == ".env" else "see ENV_FILE"
    first = f"there is no {env_file()}, and {', '.join(missing)} are missing: {cure}"
    return [first, *(one for one in problems if not one.endswith(_IS_MISSING))]


def use_settings(settings: Settings) -> None:
    """Let `get_settings` return these, even if incomplete (see `inspect_settings`)."""
    global _settings
    _settings = settings


def reset_settings() -> None:
    """Forget what was read, so that tests can change the environment."""
    global _settings
    _settings = None
