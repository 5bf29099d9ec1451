"""No core files: a crash of the interpreter must not write the keys to disk."""

from __future__ import annotations

import resource


def forbid_core_files() -> None:
    """Set this process's limit, and that of its children, to zero for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
