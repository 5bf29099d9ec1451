"""The command line of the benchmark; its figures are of no test."""

from __future__ import annotations

import pytest

from cli.benchmark import main


def test_the_help_is_whole_and_names_the_command_as_it_is_called(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = capsys.readouterr().out
    assert help_text.startswith("usage: scripts/benchmark ")
    assert "from outside, as a process" in " ".join(help_text.split())
