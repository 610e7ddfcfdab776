"""What was measured, and what it says of the bars."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.measure import Spread
from bench.stack import Recorded


@dataclass(frozen=True)
class Bar:
    """A ratio, its bar and its goal."""

    name: str
    ratio: float
    rounds: Spread
    """The ratio in each round: how far the machine's other work moves it."""
    bar: float
    goal: float
    at_most: bool
    """Whether lower is better."""

    @property
    def words(self) -> str:
        """Whether bar and goal are met."""
        if self._within(self.goal):
            return "goal met"
        return "bar met" if self._within(self.bar) else "bar missed"

    def _within(self, limit: float) -> bool:
        return self.ratio <= limit if self.at_most else self.ratio >= limit


@dataclass(frozen=True)
class Results:
    """Everything that `python -m bench` shows."""

    milliseconds: Mapping[str, Spread]
    per_second: Mapping[str, Spread]
    bars: Sequence[Bar]
    history: Sequence[Recorded]
    took: float
    """Seconds."""
    left_out: str = ""
    """What could not be measured here, and why; empty: nothing."""

    def as_json(self) -> dict[str, object]:
        """The same as JSON values."""
        return {
            "milliseconds": {name: asdict(spread) for name, spread in self.milliseconds.items()},
            "per_second": {name: asdict(spread) for name, spread in self.per_second.items()},
            "bars": [asdict(bar) | {"verdict": bar.words} for bar in self.bars],
            "history": {
                "events": len(self.history),
                "bytes": sum(event.size for event in self.history),
                "in_order": [asdict(event) for event in self.history],
            },
            "seconds": self.took,
            "left_out": self.left_out,
        }


def compare(name: str, times: Sequence[float], with_times: Sequence[float], limits: tuple[float, float]) -> Bar:
    """A bar on the ratio of two medians.

    Args:
        name: of the bar.
        times: what is compared, one number a round.
        with_times: what it is compared with, of the same rounds.
        limits: bar and goal; a goal under the bar means that lower is better.
    """
    bar, goal = limits
    rounds = Spread.of([mine / other for mine, other in zip(times, with_times, strict=True)])
    ratio = Spread.of(times).median / Spread.of(with_times).median
    return Bar(name=name, ratio=ratio, rounds=rounds, bar=bar, goal=goal, at_most=goal < bar)
