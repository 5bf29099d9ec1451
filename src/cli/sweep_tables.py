"""How a sweep is shown to a person: from the JSON of research.sweep_result, fresh or of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.backtest_tables import asset_lines, headline
from cli.command_line import fitted
from cli.fitting_tables import print_fitting
from operations.asset_input import OFF
from research.sweep_choice import Objective, value_of
from research.sweep_journal import read_trial
from research.sweep_result import trials_of
from research.sweep_trial import Score, Trial
from utils.formatting import moment, percent, plain, signed_usd, span, usd

Shown = Mapping[str, Any]
BEST = 8  # rows of the ranking
_OBJECTIVES = {
    Objective.NET_PROFIT: "net profit",
    Objective.RETURN: "return",
    Objective.RETURN_DRAWDOWN: "net profit by drawdown",
    Objective.UNDER_WATER: "time under water",
}
_WEAK, _SOME = Decimal("0.3"), Decimal("0.7")  # of a rank correlation


def show_sweep(console: Console, result: Shown, notes: Sequence[str] = ()) -> None:
    """What was tried on what, the best of it on both parts, what stands beside the winner."""

    def say(text: str | Text) -> None:
        console.print(fitted(console, text))

    trials = {point: read_trial(one) for point, one in trials_of(result).items()}
    for one in result["assets"]:
        console.print(Text(headline(one), style="bold"))
        for line in list(asset_lines(one))[1:]:  # of the settings it tells below
            say(f"  {line}")
    for note in notes:
        say(Text(note, style="yellow"))
    say(_tried(result, trials))
    if not result["ranking"]:
        say(Text("None of them completed a cycle on the earlier part: there is no winner."))
        return
    say(_parts_line(result))
    console.print()
    best = [tuple(one) for one in result["ranking"][:BEST]]
    _show_table(console, result, [(str(n), point) for n, point in enumerate(best, 1)], trials)
    for line in _beside_lines(result):
        say(line)
    winner = best[0]
    around = [tuple(one) for one in result["neighbours"]]
    if around:
        say(Text("\nOne step away from the winner", style="bold"))
        rows = [("winner", winner), *(("", point) for point in around)]
        _show_table(console, result, rows, trials)
    console.print()
    for warning, line in _verdicts(result, trials):
        say(Text(line, style="yellow") if warning else line)
    say(Text("The winner", style="bold"))
    for one in result["assets"]:
        say(f"  {one['symbol']} {next(asset_lines(_as_winner(result, one, trials[winner])))}")
    say(f"  {options_of(result, winner)}")


def options_of(result: Shown, point: Sequence[int]) -> str:
    """The settings of one configuration as options."""
    return " ".join(
        f"--{one['option'].replace('_', '-')} {one['values'][place]}"
        for one, place in zip(result["dimensions"], point, strict=True)
    )


def _as_winner(result: Shown, asset: Shown, trial: Trial) -> Shown:
    """The asset with the settings that won; of several the ladder is that of all."""
    won = {
        one["column"]: one["values"][place]
        for one, place in zip(result["dimensions"], result["ranking"][0], strict=True)
    }
    settings = dict(asset["settings"])
    for name, text in won.items():
        settings[name] = int(text) if isinstance(settings[name], int) else _stored(text)
    return {**asset, "settings": settings, "ladder_usd": plain(trial.ladder_usd)}


def _stored(text: str) -> str | None:
    return None if text == OFF else text.replace("-", "_")


def _tried(result: Shown, trials: Mapping[Any, Trial]) -> str:
    varied = ", ".join(
        f"{_flag(one)} {_range(one['values'])} ({len(one['values'])})"
        for one in result["dimensions"]
    )
    search = result["search"]
    how = "all" if search["kind"] == "grid" else f"tpe, {search['trials']:,} trials"
    text = f"{varied}: {len(trials):,} configurations ({how})"
    refused = [one.refused for one in trials.values() if one.refused]
    if refused:
        text += f"; {len(refused):,} cannot be traded, as: {refused[0]}"
    return text


def _flag(dimension: Shown) -> str:
    return f"--{dimension['option'].replace('_', '-')}"


def _range(values: Sequence[str]) -> str:
    return ", ".join(values) if len(values) <= 4 else f"{values[0]} to {values[-1]}"


def _parts_line(result: Shown) -> str:
    words = _OBJECTIVES[Objective(result["objective"])]
    first, *rest = result["parts"]
    text = f"chosen by {words} on {moment(_at(first['from']))} to {moment(_at(first['to']))} UTC"
    for part in rest:
        text += f", judged on {moment(_at(part['from']))} to {moment(_at(part['to']))}"
    return (
        text if rest else f"{text}: the same prices that it was chosen on, so it is judged by none"
    )


def _show_table(
    console: Console,
    result: Shown,
    rows: Sequence[tuple[str, Sequence[int]]],
    trials: Mapping[Any, Trial],
) -> None:
    objective = Objective(result["objective"])
    settings = [one["option"] for one in result["dimensions"]]
    figures = ["net_profit", "drawdown", "cycles"]
    if objective is not Objective.NET_PROFIT:
        figures.insert(0, objective.value.replace("-", "_"))
    names = ["", "later_"][: max(1, len(result["parts"]))]
    titles = [f"{part}{figure}" for part in names for figure in figures]
    lines = []
    for first, point in rows:
        values = [
            one["values"][place] for one, place in zip(result["dimensions"], point, strict=True)
        ]
        cells = [first, *values]
        for score in trials[tuple(point)].scores:
            cells += _figures(objective, score)
        lines.append((cells, None))
    wide = " ".join(["#", *settings, *titles])
    stacked = [f"{figure}/later_{figure}" for figure in figures] if len(names) > 1 else titles
    narrow = " ".join(["#", *settings, *stacked])
    tight = " ".join(["#", "/".join(settings), *stacked])
    print_fitting(console, [wide, narrow, tight], lines)


def _figures(objective: Objective, score: Score) -> list[str]:
    figures = [signed_usd(score.result_usd), f"-{score.drawdown_percent:.2f} %", str(score.cycles)]
    value = value_of(objective, score)
    match objective:
        case Objective.NET_PROFIT:
            return figures
        case Objective.RETURN:
            return [percent(value), *figures]
        case Objective.RETURN_DRAWDOWN:
            return [f"{value:.2f}", *figures]
        case Objective.UNDER_WATER:
            return [span(float(value)), *figures]


def _beside_lines(result: Shown) -> Iterator[str]:
    for name, words in (("buy_and_hold", "held"), ("weekly_buy", "bought weekly")):
        shown = [
            f"{signed_usd(Decimal(part[name]['result_usd']))} USD, drawdown"
            f" {_drawdown(part[name]['drawdown'])}"
            for part in result["parts"]
        ]
        cash = usd(Decimal(result["parts"][0]["cash_usd"]))
        yield f"the winner's {cash} USD {words}: {'; later '.join(shown)}"


def _drawdown(one: Shown | None) -> str:
    return "none" if one is None else f"-{Decimal(one['percent']):.2f} %"


def _verdicts(result: Shown, trials: Mapping[Any, Trial]) -> Iterator[tuple[bool, str]]:
    """Each with whether it is a warning."""
    words = _OBJECTIVES[Objective(result["objective"])]
    kept = result["kept_percent"]
    if result["is_lone_peak"]:
        yield (
            True,
            (
                f"A lone peak: the middle one of its neighbours has {_whole(kept)} % of its"
                f" {words}. A little off these settings it is gone: that is luck, not a finding."
            ),
        )
    elif kept is not None:
        yield False, f"The middle one of its neighbours keeps {_whole(kept)} % of its {words}."
    correlation = result["correlation"]
    if correlation is not None:
        value = Decimal(correlation)
        agree = f"Rank correlation of the earlier part with the later one: {value:.2f}"
        if value < _WEAK:
            yield True, f"{agree}. The earlier part says next to nothing of the later one."
        elif value < _SOME:
            yield False, f"{agree}: they agree in part."
        else:
            yield False, f"{agree}: what did well went on doing well."
    if len(result["parts"]) > 1:
        yield from _fallen(result, trials, words)
    ladders = [one.ladder_usd for one in trials.values() if one.scores]
    is_by_profit = result["objective"] == Objective.NET_PROFIT
    if is_by_profit and result["account"]["cash_usd"] is None and max(ladders) > min(ladders) * 2:
        yield (
            True,
            (
                f"Ladders need from {usd(min(ladders))} to {usd(max(ladders))} USD, and net"
                " profit favours the large ones: --objective return, or one --cash for all."
            ),
        )


def _fallen(result: Shown, trials: Mapping[Any, Trial], words: str) -> Iterator[tuple[bool, str]]:
    """Where the winner stands on the later part."""
    objective = Objective(result["objective"])
    ranking = [tuple(one) for one in result["ranking"]]
    own = trials[ranking[0]].scores[1]
    sign = -1 if objective is Objective.UNDER_WATER else 1
    mine = sign * value_of(objective, own)
    better = sum(sign * value_of(objective, trials[one].scores[1]) > mine for one in ranking)
    text = f"On the later part {better:,} of {len(ranking):,} had a better {words} than the winner"
    yield (
        own.result_usd < 0,
        f"{text}; it {'lost money' if own.result_usd < 0 else 'earned'} there.",
    )


def _whole(text: str) -> str:
    return f"{Decimal(text):.0f}"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
