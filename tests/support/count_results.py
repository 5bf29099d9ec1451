"""Sums what `scripts/test` ran into one last line. Reads results only; decides nothing."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def counts_of_pytest(report: Path) -> tuple[int, int]:
    """Passed and failed in pytest's XML report; a run that wrote none counts as one failure."""
    if not report.exists():
        return 0, 1
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    passed = failed = 0
    for suite in suites:
        total, bad, skipped = (
            sum(int(suite.get(name, 0)) for name in names)
            for names in (["tests"], ["failures", "errors"], ["skipped"])
        )
        failed += bad
        passed += total - bad - skipped
    return passed, failed


def counts_of_integration(output: Path) -> tuple[int, int]:
    """Passed and failed as the integration test's own last count says."""
    found = re.findall(r"(\d+) passed, (\d+) failed", output.read_text(errors="replace"))
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)


def main() -> None:
    folder = Path(sys.argv[1])
    passed, failed = counts_of_pytest(folder / "pytest.xml")
    if (folder / "integration.txt").exists():
        more_passed, more_failed = counts_of_integration(folder / "integration.txt")
        passed, failed = passed + more_passed, failed + more_failed
    print(f"{passed} passed, {failed} failed")


if __name__ == "__main__":
    main()
