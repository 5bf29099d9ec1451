"""`scripts/web stop` and `scripts/telegram stop`. Owns their words."""

from __future__ import annotations

from cli.command_line import EXIT_DONE
from config import Settings
from monitoring.status.caretaker_status import is_watched
from runtime.side_process import SideProcess


def stop_side(side: SideProcess, settings: Settings) -> int:
    """End the one that runs, and say whether it comes again.

    Raises:
        DaemonError: it is not ours to end, or the kernel cannot end it.
    """
    process = side.find(settings)
    if process is None:
        print("It does not run.")
        return EXIT_DONE
    how = side.end(process)
    comes_again = side.is_wanted(settings) and is_watched(settings)
    again = "; the watchdog starts it again within a minute" if comes_again else ""
    print(f"PID {process.pid} has ended ({how}){again}.")
    return EXIT_DONE
