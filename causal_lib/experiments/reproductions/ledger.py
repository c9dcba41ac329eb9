"""The ledger of reproductions, ``reports/reproductions.toml``: a published number, ours, and a
verdict that is computed.

The verdict is computed from the numbers and from one fact, whether ours comes from the published
method. A test asks whether the two differ by more than their errors. It cannot show that they are
equal, and few runs make it lenient. So equivalence is asked too: does the whole interval lie within
`MARGIN` of the published number? What is not reproduced stays in.
"""

import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from causal_lib import paths, plots
from causal_lib.experiments.claims import is_target, meets
from causal_lib.paths import write_text

LEDGER = paths.ROOT / "reports" / "reproductions.toml"
MARGIN = (0.8, 1.25)
"""Ours over the published number, both errors included, must lie within these ratios to be
equivalent to it.
"""
_COLUMNS = [
    "experiment",
    "quantity",
    "published",
    "ours",
    "runs",
    "z",
    "equivalent",
    "verdict",
    "code",
]
_COLOURS = {
    "reproduced": plots.ESTIMATE,
    "differs": plots.NAIVE,
    "not reproduced": plots.TRUTH,
    "other method": plots.REFERENCE,
}
VERDICTS = tuple(_COLOURS)
_HEAD = (
    "# Written by `causal-lib reproduce`; the verdicts are computed, see "
    "causal_lib/experiments/reproductions/ledger.py.\n"
)


@dataclass(frozen=True)
class Entry:
    """One published number and ours.

    Attributes
    ----------
    experiment, quantity : together the key, e.g. 'open-bandit-synthetic' and 'IPW'.
    source, setting, measure : where it was published, on what data under which setting, and what
        the number is.
    published : the number, or, where the source only says which way it goes, a comparison such as
        'above 0'.
    published_error : its standard error, from the spread and the number of runs that the source
        gives; nan if it gives none.
    digits : decimals that the source prints: half a unit of the last one is allowed on top of the
        errors.
    value, error, runs, seeds : ours, its standard error (0 if nothing is random), number of runs,
        their seeds in words.
    because : what is known of the reason where they differ; it does not change the verdict.
    other_method : how our method is another one than the published; empty where it is the same.
    code : whose code computes ours: "own", or a package's name.
    """

    experiment: str
    quantity: str
    source: str
    setting: str
    measure: str
    published: float | str
    published_error: float
    digits: int
    value: float
    error: float
    runs: int
    seeds: str
    because: str = ""
    other_method: str = ""
    code: str = "own"

    def __post_init__(self):
        if isinstance(self.published, str) and not is_target(self.published):
            raise ValueError(
                f"{self.quantity}: published {self.published!r} is no number and no comparison "
                "like 'above 0'"
            )
        if not math.isfinite(self.value) or not self.error >= 0:
            raise ValueError(
                f"{self.quantity}: value {self.value} and error {self.error} must be numbers"
            )

    @classmethod
    def of_runs(cls, values: Iterable[float], statistic: str = "mean", **known) -> "Entry":
        """Ours is the mean or the median of ``values``, (runs,) or (runs, settings).

        The error is that of independent runs; of a median by 500 bootstrap draws of runs.
        """
        values = np.asarray(list(values), dtype=float)
        if len(values) < 2:
            raise ValueError(
                f"{known.get('quantity')}: {len(values)} runs give no error; at least 2 are needed"
            )
        if statistic == "median":
            rng = np.random.default_rng(0)
            draws = [
                np.median(values[rng.integers(len(values), size=len(values))]) for _ in range(500)
            ]
            error = np.std(draws, ddof=1)
        else:
            error = values.reshape(len(values), -1).mean(axis=1).std(ddof=1) / math.sqrt(
                len(values)
            )
        value = getattr(np, statistic)(values)
        return cls(value=float(value), error=float(error), runs=len(values), **known)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of our value."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error

    @property
    def z(self) -> float:
        """Difference to the published number in joint standard errors, its rounding taken off; nan
        of a comparison.

        Infinite where neither number has an error and they differ by more than the rounding.
        """
        if isinstance(self.published, str):
            return math.nan
        beyond = max(abs(self.value - self.published) - 0.5 * 10**-self.digits, 0.0)
        if not self._joint_error:
            return math.copysign(math.inf, self.value - self.published) if beyond else 0.0
        return math.copysign(beyond / self._joint_error, self.value - self.published)

    @property
    def equivalent(self) -> bool | None:
        """Whether the 95% interval of the ratio of both numbers lies within `MARGIN`.

        None of a comparison, of a published 0 and of another method.
        """
        if isinstance(self.published, str) or not self.published or self.other_method:
            return None
        ends = ((self.value + sign * 1.96 * self._joint_error) / self.published for sign in (-1, 1))
        return all(MARGIN[0] <= end <= MARGIN[1] for end in ends)

    @property
    def _joint_error(self):
        return math.hypot(
            self.error, 0 if math.isnan(self.published_error) else self.published_error
        )

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`.

        'other method': ours comes from another method, so the numbers need not agree. 'reproduced':
        the numbers differ by no more than 1.96 joint errors and the rounding; of a published
        comparison, it holds for the whole interval of ours. 'differs': by more than that, but
        equivalent. 'not reproduced': by more than that, and not equivalent.
        """
        if self.other_method:
            return "other method"
        if self._agrees:
            return "reproduced"
        return "differs" if self.equivalent else "not reproduced"

    @property
    def reason(self) -> str:
        """Why the numbers need not agree, or what is known of why they do not: "not known" where
        nothing is. Empty where they are reproduced.
        """
        if self.verdict == "reproduced":
            return ""
        return self.other_method or self.because or "not known"

    @property
    def _agrees(self):
        if isinstance(self.published, str):
            return all(meets(end, self.published) for end in self.interval)
        return abs(self.z) <= 1.96

    def __repr__(self):
        low, high = self.interval
        said = (
            f"{self.experiment}, {self.quantity}: {self.value:.4g} [{low:.4g}, {high:.4g}], "
            f"published {self.published}"
        )
        reason = f" (reason: {self.reason})" if self.reason else ""
        return f"{said}: {self.verdict}{reason}"


def read(path: Path = LEDGER) -> list[Entry]:
    """All entries of the ledger; none where it does not exist yet.

    Raises ValueError where the file is no ledger.
    """
    if not Path(path).exists():
        return []
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        known = {field.name for field in fields(Entry)}
        return [
            Entry(**{key: value for key, value in one.items() if key in known})
            for one in content.get("entry", [])
        ]
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise ValueError(
            f"{path} is no ledger of reproductions: {error}; write it anew with causal-lib "
            "reproduce"
        ) from error


def write(entries: Iterable[Entry], path: Path = LEDGER) -> list[Entry]:
    """Put ``entries`` into the ledger; those of the same experiments are replaced, the others stay.
    Returns all.
    """
    entries = list(entries)
    anew = {entry.experiment for entry in entries}
    every = sorted(
        [entry for entry in read(path) if entry.experiment not in anew] + entries,
        key=lambda entry: entry.experiment,
    )
    blocks = []
    for entry in every:
        low, high = entry.interval
        equivalent = {None: "not asked", True: "yes", False: "not shown"}[entry.equivalent]
        verdict = {"z": entry.z, "equivalent": equivalent, "verdict": entry.verdict}
        facts = {**asdict(entry), "low": low, "high": high, **verdict}
        blocks.append(
            "[[entry]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in facts.items())
        )
    write_text(Path(path), _HEAD + "\n" + "\n".join(blocks))
    return every


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """One row per entry: what was published, ours, z, whether they are equivalent, the verdict,
    whose code it is (all text).
    """
    rows = []
    for entry in entries:
        low, high = (f"{end:.4g}" for end in entry.interval)
        rows.append(
            {
                "experiment": entry.experiment,
                "quantity": entry.quantity,
                "published": entry.published,
                "ours": f"{entry.value:.4g}" + (f" [{low}, {high}]" if entry.error else ""),
                "runs": entry.runs,
                "z": "" if math.isnan(entry.z) else f"{entry.z:.1f}",
                "equivalent": {None: "", True: "yes", False: "not shown"}[entry.equivalent],
                "verdict": entry.verdict,
                "code": entry.code,
            }
        )
    return pd.DataFrame(rows, columns=_COLUMNS)


def counts(entries: Iterable[Entry]) -> pd.DataFrame:
    """One row per experiment: entries of each verdict, how many of the reproduced are also
    equivalent, and whose code it is.
    """
    entries = list(entries)
    rows = pd.DataFrame(
        [
            (entry.experiment, entry.verdict, bool(entry.equivalent), entry.code)
            for entry in entries
        ],
        columns=["experiment", "verdict", "equivalent", "code"],
    )
    grouped = rows.groupby("experiment", sort=False)
    found = pd.DataFrame(
        {
            name: grouped["verdict"].agg(lambda own, name=name: (own == name).sum())
            for name in VERDICTS
        }
    )
    both = rows["equivalent"] & (rows["verdict"] == "reproduced")
    found["reproduced and equivalent"] = both.groupby(rows["experiment"]).sum()
    found["code"] = grouped["code"].agg(lambda own: "; ".join(dict.fromkeys(own)))
    return found


def ratios(entries: Iterable[Entry], *, ax: Axes | None = None) -> Axes:
    """Ours over the published number, with the 95% interval by both errors, coloured by verdict and
    grouped by experiment; `MARGIN` is grey. Published comparisons are left out.
    """
    entries = [entry for entry in entries if not isinstance(entry.published, str)]
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3.8), layout="constrained")
    ax.axhspan(*MARGIN, color="#e6e6e6", zorder=0, label=" to ".join(map(str, MARGIN)))
    ax.axhline(1, color=plots.TRUTH, lw=0.8)
    for verdict, colour in _COLOURS.items():
        own = [place for place, entry in enumerate(entries) if entry.verdict == verdict]
        values = [entries[place].value / entries[place].published for place in own]
        halves = [
            abs(1.96 * entries[place]._joint_error / entries[place].published) for place in own
        ]
        if own:
            ax.errorbar(own, values, halves, fmt="o", ms=4, capsize=2, color=colour, label=verdict)
    names = pd.Series([entry.experiment for entry in entries])
    places = names.index.to_series().groupby(names.to_numpy(), sort=False)
    for last in places.max().iloc[:-1]:
        ax.axvline(last + 0.5, color="#bbbbbb", lw=0.8)
    ax.set_xticks(
        places.mean(), [name.replace("open-bandit-", "open bandit,\n") for name in places.groups]
    )
    ax.set(yscale="log", ylabel="ours / published", xlim=(-1, len(entries)))
    ax.set_yticks([0.5, *MARGIN, 1, 2], ["0.5", *map(str, MARGIN), "1", "2"])
    ax.minorticks_off()
    ax.figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return ax


def _toml(value):
    if isinstance(value, float) and math.isfinite(value):
        text = f"{value:.8g}"
        return text if "e" in text or "." in text else f"{value:.1f}"
    if isinstance(value, float):
        return str(value)
    return json.dumps(value, ensure_ascii=False)  # a JSON string or integer is TOML too
