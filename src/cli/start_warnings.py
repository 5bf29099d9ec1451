"""What a daemon that was just started lacks for trading. Reads only."""

from __future__ import annotations

from config import PROJECT_ROOT, Settings
from models.asset_config import get_all_assets
from runtime.crontab import CrontabError, NoCrontab, read_crontab, split_at_block
from runtime.foreground import is_run_in_foreground
from runtime.script_runs import load_script_runs
from runtime.systemd import timers_run
from runtime.unknown_settings import find_unknown_settings
from utils.alert_services import find_service_trouble, services_of
from utils.db_utils import DatabaseError, thread_connection


def find_start_warnings(settings: Settings) -> list[str]:
    """One line each with its cure. What cannot be read now is no reason to warn."""
    unknown = [f".env: {text}: {cure}" for text, cure in find_unknown_settings()]
    return [
        *unknown,
        *_without_assets(),
        *_without_caretakers(settings),
        *_without_alerts(settings),
    ]


def _without_alerts(settings: Settings) -> list[str]:
    troubles = [(one.name, find_service_trouble(one)) for one in services_of(settings)]
    return [f"no alert reaches {name}: {trouble}" for name, trouble in troubles if trouble]


def _without_assets() -> list[str]:
    try:
        if get_all_assets(thread_connection()):
            return []
    except DatabaseError:
        return []  # the daemon itself reports that
    return ["no asset is configured, so there is nothing to trade: scripts/assets add BTC/USD"]


def _without_caretakers(settings: Settings) -> list[str]:
    if timers_run() or is_run_in_foreground(settings.run_dir):
        return []
    cure = "scripts/install_crontab install"
    try:
        _, _, is_installed = split_at_block(read_crontab(), PROJECT_ROOT)
        trouble = None if is_installed else "the crontab has no lines of this folder"
    except CrontabError as error:
        trouble = str(error)
        if isinstance(error, NoCrontab):
            cure += " --systemd, or scripts/caretakers run"
    if trouble is not None:
        return [f"nobody restarts the daemon when it fails ({trouble}): {cure}"]
    if not load_script_runs(settings.run_dir):
        return ["cron has not run any of its jobs yet: if that lasts over a minute, scripts/doctor"]
    return []
