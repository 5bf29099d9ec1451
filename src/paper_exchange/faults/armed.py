"""The faults that are armed: whether one applies, how often it did, and when.

The exchange visits a seam wherever something can go wrong, with the facts of the moment. This
module decides whether a fault applies there, never what happens then. Chances are seeded per fault.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase

from paper_exchange.faults.table import CHOICES, FACTS, KINDS, Kind, Seam

log = logging.getLogger(__name__)

_HISTORY = 1_000


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that was armed: how likely, how often and where it applies, and how often it did."""

    id: str
    kind: Kind
    probability: float
    count: int | None
    match: Mapping[str, Sequence[str]]
    parameters: Mapping[str, object]
    chance: random.Random = field(repr=False)
    applied: int = 0
    is_cleared: bool = False

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def is_active(self) -> bool:
        return not self.is_cleared and (self.count is None or self.applied < self.count)

    @property
    def seconds(self) -> float:
        return float(self.number("seconds"))

    def number(self, name: str) -> Decimal:
        return Decimal(str(self.parameters[name]))

    def fits(self, facts: Mapping[str, object]) -> bool:
        """A fact that the visit does not name fits nothing."""
        return all(
            any(fnmatchcase(str(facts.get(name, "")), pattern) for pattern in patterns)
            for name, patterns in self.match.items()
        )

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "probability": self.probability,
            "count": self.count,
            "match": {name: list(patterns) for name, patterns in self.match.items()},
            **self.parameters,
            "applied": self.applied,
            "active": self.is_active,
        }


class FaultBoard:
    """The faults that were armed. Without any a visit costs one look-up in a dictionary."""

    def __init__(self, seed: int = 1) -> None:
        self.all: list[Fault] = []
        self.history: deque[dict[str, object]] = deque(maxlen=_HISTORY)
        self.armed_listeners: list[Callable[[Fault], None]] = []
        self.cleared_listeners: list[Callable[[Fault], None]] = []
        self._active: dict[Seam, list[Fault]] = {}
        self._seed = seed

    def arm(self, request: Mapping[str, object]) -> Fault:
        """Switches a fault on. Raises ValueError for a request that the table does not allow."""
        fault = self._parse(request)
        self.all.append(fault)
        self._active.setdefault(fault.kind.seam, []).append(fault)
        for listener in self.armed_listeners:
            listener(fault)
        return fault

    def clear(self, which: str | None = None) -> list[Fault]:
        """Switches off one fault by id, all of a name, or all; what they hold back goes on."""
        chosen = [
            one for one in self.all if not one.is_cleared and which in (None, one.id, one.name)
        ]
        for fault in chosen:
            fault.is_cleared = True
            self._forget(fault)
            for listener in self.cleared_listeners:
                listener(fault)
        return chosen

    def visit(self, seam: Seam, **facts: object) -> Iterator[Fault]:
        """The faults that apply here and now, in the order in which they were armed."""
        return iter([one for one in [*self._active.get(seam, ())] if self._applies(one, facts)])

    def first(self, seam: Seam, **facts: object) -> Fault | None:
        return next(self.visit(seam, **facts), None)

    def as_json(self) -> dict[str, object]:
        applied: Counter[str] = Counter()
        for fault in self.all:
            applied[fault.name] += fault.applied
        return {
            "active": [fault.as_json() for fault in self.all if fault.is_active],
            "all": [fault.as_json() for fault in self.all],
            "applied": dict(applied),
            "history": list(self.history),
        }

    def _applies(self, fault: Fault, facts: Mapping[str, object]) -> bool:
        if not fault.fits(facts) or fault.chance.random() >= fault.probability:
            return False
        fault.applied += 1
        if fault.kind.seam is not Seam.CLOCK:
            self.history.append({"id": fault.id, "name": fault.name, "facts": dict(facts)})
            log.info("fault.applied id=%s name=%s facts=%s", fault.id, fault.name, dict(facts))
        if not fault.is_active:
            self._forget(fault)
        return True

    def _forget(self, fault: Fault) -> None:
        active = self._active.get(fault.kind.seam, [])
        if fault in active:
            active.remove(fault)

    def _parse(self, request: Mapping[str, object]) -> Fault:
        name = request.get("name")
        kind = KINDS.get(str(name))
        if kind is None:
            raise ValueError(f"no fault is named {name!r}; there are {', '.join(KINDS)}")
        known = {"name", "probability", "count", "match", *kind.parameters}
        if unknown := sorted(set(request) - known):
            raise ValueError(f"{name} does not take {unknown}; it takes {sorted(known)}")
        match = request.get("match") or {}
        if not isinstance(match, Mapping):
            raise ValueError("match must be an object")
        if unknown := sorted(set(match) - set(FACTS[kind.seam])):
            raise ValueError(f"{name} cannot match {unknown}, only {list(FACTS[kind.seam])}")
        probability = float(str(request.get("probability", 1)))
        if not 0 <= probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        count = request.get("count")
        parameters = {
            key: _parameter(key, type(default), request.get(key, default))
            for key, default in kind.parameters.items()
        }
        fault_id = f"fault-{len(self.all) + 1}"
        return Fault(
            id=fault_id,
            kind=kind,
            probability=probability,
            count=None if count is None else int(str(count)),
            match={key: _patterns(value) for key, value in {**kind.match, **match}.items()},
            parameters=parameters,
            chance=random.Random(f"{self._seed}:{fault_id}"),
        )


def _parameter(name: str, kind: type, value: object) -> object:
    value = kind(value)
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}")
    return value


def _patterns(value: object) -> Sequence[str]:
    """One pattern or a list of them, with * and ?."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in values)
