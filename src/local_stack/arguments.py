"""What the command lines of demo and chaos share: the parser and the types of their arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from utils.wrapping import PageFormatter

LARGEST_SEED = 10**18


class OneLineParser(argparse.ArgumentParser):
    """A wrong argument is one line and code 2; the usage would push it off the screen."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=PageFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ERROR: {message} (see {self.prog} --help)\n")


def number_between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number")
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be between {low:g} and {high:g}")
        return number

    return parse


def whole_number_between(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be between {low} and {high}")
        return number

    return parse


parse_seed = whole_number_between(0, LARGEST_SEED)
