"""What a private server needs that takes long, made ahead of its first start: `python -m
mariadb_server.prepare [FOLDER]`, while the packages are installed.

Without FOLDER the server program only, with it that server's data folder as well. Uses the standard
library only: it runs before there are packages. Starts no server.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mariadb_server.binaries import candidates
from mariadb_server.data_folder import create_data_folder
from mariadb_server.debian_packages import exclusive_lock
from mariadb_server.errors import MariaDBError


def prepare_folder(folder: Path) -> None:
    """As `PrivateMariaDB.start` would, and in its place: it waits for the lock that is held here.

    Raises:
        MariaDBError: with the reason in one line.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive_lock(folder / "lock"):
        data = folder / "data"
        if not data.exists():
            binaries = create_data_folder(data, candidates(), folder / "mariadb.log")
            # What made the folder shall run it: another one may not be able to.
            (folder / "server.json").write_text(json.dumps({"binaries": binaries.parts()}))


def main() -> int:
    try:
        if len(sys.argv) > 1:
            prepare_folder(Path(sys.argv[1]))
        else:
            next(candidates())
    except MariaDBError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
