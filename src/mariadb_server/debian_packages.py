"""Fetches Debian packages into a folder of the project, without root.

Owns list and cache folders of its own for apt, so that empty, stale or locked lists of the machine
do not matter. Uses the standard library only: it also runs before the virtual environment exists.
Must never install anything, change the system, or name a package host: apt's own configuration
decides where packages come from.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
LOCAL_FOLDER = PROJECT_ROOT / ".local"
LISTS_ARE_FRESH_SECONDS = 3600
COMMAND_TIMEOUT_SECONDS = 600

# Without the hooks: as root they would clean the machine's own package cache.
APT_CONFIG = """\
Dir::State "{folder}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{folder}/cache";
Debug::NoLocking "true";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
"""


class PackagesUnavailable(Exception):
    """The packages could not be fetched; one line says why."""


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """One process at a time holds the lock of this file; the kernel frees it with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield


class PrivateApt:
    """apt over list and cache folders of our own; use it inside `exclusive_lock`."""

    def __init__(self, folder: Path) -> None:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise PackagesUnavailable("this system has no apt-get")
        self._folder = folder
        self._config = folder / "apt.conf"
        self._all_sources_answered = True
        for needed in ("state/lists/partial", "cache/archives/partial"):
            (folder / needed).mkdir(parents=True, exist_ok=True)
        self._config.write_text(APT_CONFIG.format(folder=folder))

    def update(self, report: Callable[[str], None]) -> None:
        """Fetch the package lists, unless they were fetched within the hour."""
        stamp = self._folder / "updated"
        if stamp.exists() and 0 <= time.time() - stamp.stat().st_mtime < LISTS_ARE_FRESH_SECONDS:
            return
        report("fetching package lists (into .local, nothing is installed)")
        # One unreachable source must not end it: the package may be found without it.
        done = self._run("apt-get", "-q", "update")
        self._all_sources_answered = not re.search(r"^[EW]:", done.stderr, re.MULTILINE)
        stamp.touch()

    def forget_lists(self) -> None:
        """Make the next update fetch new lists: with these the packages were not found."""
        (self._folder / "updated").unlink(missing_ok=True)

    def download(self, packages: list[str], into: Path) -> list[Path]:
        into.mkdir(parents=True, exist_ok=True)
        self._answer("apt-get", "-q", "download", *packages, cwd=into)
        return sorted(into.glob("*.deb"))

    def missing_libraries(self, package: str) -> list[str]:
        """The libraries that `package` needs, at any depth, and that the machine lacks."""
        answer = self._answer("apt-cache", "depends", "--recurse", "--important", package)
        needed = set(re.findall(r"^ [ |](?:Pre)?Depends: (lib[^\s<>:]+)", answer, re.MULTILINE))
        listing = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        installed = set(re.findall(r"^installed (\S+)", listing, re.MULTILINE))
        # A second libc beside the machine's would crash.
        return sorted(needed - installed - {"libc6"})

    def _answer(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        done = self._run(tool, *arguments, cwd=cwd)
        if done.returncode == 0:
            return done.stdout
        if not self._all_sources_answered:
            raise PackagesUnavailable("not every package source of this machine can be reached")
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise PackagesUnavailable(errors[0] if errors else f"{tool} ended with {done.returncode}")

    def _run(
        self, tool: str, *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [tool, "-c", str(self._config), *arguments],
                cwd=cwd or self._folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PackagesUnavailable(f"{tool} did not end in time") from error


def fetch_and_unpack(
    packages: list[str],
    target: Path,
    *,
    with_libraries_of: str | None = None,
    report: Callable[[str], None] = lambda line: None,
    local_folder: Path = LOCAL_FOLDER,
) -> None:
    """Unpack packages, and the libraries the machine lacks for one of them, below `target`."""
    folder = local_folder / "apt"
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder / "lock"):
        apt = PrivateApt(folder)
        try:
            apt.update(report)
            libraries = apt.missing_libraries(with_libraries_of) if with_libraries_of else []
            report(f"fetching {' '.join(packages + libraries)}")
            downloads = folder / "downloads"
            shutil.rmtree(downloads, ignore_errors=True)
            for package_file in apt.download(packages + libraries, downloads):
                _unpack(package_file, target)
            shutil.rmtree(downloads)
        except PackagesUnavailable:
            apt.forget_lists()
            raise


def _unpack(package_file: Path, target: Path) -> None:
    done = subprocess.run(
        ["dpkg-deb", "-x", str(package_file), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PackagesUnavailable(f"{package_file.name} did not unpack: {done.stderr.strip()}")


def main() -> int:
    """`debian_packages.py TARGET PACKAGE...`, for the set-up before there is a venv."""
    target, *packages = sys.argv[1:]
    try:
        fetch_and_unpack(packages, Path(target), report=lambda line: print(" ", line))
    except PackagesUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
