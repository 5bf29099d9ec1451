"""`scripts/completion`: what Tab offers behind the scripts, for bash and zsh.

Written from the very parsers of the commands, so that it cannot differ from them. Where an asset is
wanted it offers those that the daemon's last heartbeat names: Tab must not wait for a database.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module

from cli.command_line import OneLineParser
from cli.runner import run_tool
from operations.asset_input import CHOICES, list_choices, read_symbol

HELP = """\
Prints what completes the commands, options and assets of scripts/... with Tab. For this shell:

  source <(scripts/completion bash)
  source <(scripts/completion zsh)

For every new one: put that line, with the path of this folder, into ~/.bashrc or ~/.zshrc."""
COMMANDS = ("bash", "zsh")
# What the exchange lists and people trade: for `assets add`, and where no daemon has run yet.
USUAL = "BTC/USD ETH/USD SOL/USD LTC/USD DOGE/USD AVAX/USD LINK/USD BCH/USD UNI/USD AAVE/USD"
# The scripts whose parser is built by `build_parser` of a module, and where that is not cli.<name>.
MODULES = {
    "quickstart": "cli.quickstart_options",
    "assets": "cli.assets_options",
    "bot": "cli.bot_options",
    "status": "cli.status",
    "report": "cli.report",
    "alerts": "cli.alerts",
    "doctor": "cli.doctor",
    "logs": "cli.logs",
    "history": "cli.history_options",
    "backtest": "cli.backtest_options",
    "sweep": "cli.sweep_options",
    "database": "cli.database",
    "install_crontab": "cli.install_crontab",
    "caretakers": "cli.caretakers",
    "telegram": "cli.telegram",
    "web": "cli.web",
    "completion": "cli.completion",
}
# `complete` knows a command by its name without folder: the function leaves those of others alone.
_BASH = """\
_dca_bot() {{
  case "${{COMP_WORDS[0]}}" in scripts/*|*/scripts/*) ;; *) return ;; esac
  local current="${{COMP_WORDS[COMP_CWORD]}}" script="${{COMP_WORDS[0]##*/}}" command='' words i
  local folder="${{COMP_WORDS[0]%/*}}" known
  local usual='{usual}'
  known="$(grep -shoE '[A-Z0-9]+/USD' "${{folder/#\\~/$HOME}}/../run/heartbeat.json" | sort -u)"
  known="${{known:-$usual}}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in -*) ;; *) command="${{COMP_WORDS[i]}}"; break ;; esac
  done
  case "$script ${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
    *)
      case "$script $command" in
{cases}
        *) words='' ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current")) || return 0
}}
complete -o default -F _dca_bot {scripts}
"""
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print it; whatever stops it is one line, and an exit code."""
    return run_tool("completion", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    shell = build_parser().parse_args(arguments).shell
    values = "\n".join(dict.fromkeys(line for script in MODULES for line in _values(script)))
    cases = "\n".join(f"    {line}" for script in MODULES for line in _cases(script))
    body = _BASH.format(values=values, cases=cases, usual=USUAL, scripts=" ".join(MODULES))
    print((_ZSH if shell == "zsh" else "") + body)
    return 0


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/completion", description=HELP)
    parser.add_argument("shell", choices=COMMANDS)
    return parser


def _values(script: str) -> Iterator[str]:
    """Which words follow an option that takes a value; none where it takes any."""
    parser = import_module(MODULES[script]).build_parser()
    for one in (parser, *getattr(parser, "commands", {}).values()):
        for action in one._actions:  # argparse has no other list of them
            words = list_choices(action.dest) if action.dest in CHOICES else action.choices or ()
            for option in action.option_strings if action.nargs is None else ():
                assets = '" $known"' if action.type is read_symbol else ""
                yield _case(f"'{script} {option}'", [str(word) for word in words], assets)


def _cases(script: str) -> Iterator[str]:
    """Which words follow the script, and each of its commands; the first pattern counts."""
    module = import_module(MODULES[script])
    parser: argparse.ArgumentParser = module.build_parser()
    commands: Mapping[str, argparse.ArgumentParser] = getattr(parser, "commands", {})
    for name, one in commands.items():
        yield _case(f"'{script} {name}'", _options(one), _assets(one, is_new=name == "add"))
    others: Iterable[str] = getattr(module, "COMMANDS", ())
    words = list(commands) or list(others)
    yield _case(f"'{script} '", [*words, *_options(parser)], _assets(parser))
    if not commands:
        yield _case(f"'{script} '*", _options(parser), _assets(parser))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """The usage names every option once."""
    return [*re.findall(r"(?<=[\[( ])--[a-z][a-z-]*", parser.format_usage()), "--help"]


def _assets(parser: argparse.ArgumentParser, *, is_new: bool = False) -> str:
    """What the shell adds to the words where an asset is wanted."""
    takes_one = any(one.type is read_symbol for one in parser._actions if not one.option_strings)
    return ('" $usual"' if is_new else '" $known"') if takes_one else ""


def _case(pattern: str, words: list[str], more: str) -> str:
    return f"    {pattern}) words='{' '.join(words)}'{more} ;;"


if __name__ == "__main__":
    sys.exit(main())
