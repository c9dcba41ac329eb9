"""`edge_stability`: how often `discover` finds each edge again when the rows are drawn anew."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame
from causal_lib.discovery.encoding import plain
from causal_lib.discovery.methods import METHODS
from causal_lib.discovery.search import discover
from causal_lib.discovery.stability import SAMPLINGS, Stability, frequencies, hash_of
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.progress import without_bars


def edge_stability(
    data: pd.DataFrame | Statistics,
    *,
    method: str = "order",
    knowledge: Knowledge | None = None,
    n_boot: int | None = None,
    seed: int = 0,
    sampling: str = "bootstrap",
    n_jobs: int = 1,
    resume: str | Path | None = None,
    progress: bool = True,
    search: Callable[[Statistics | pd.DataFrame], CausalGraph] | None = None,
    **settings,
) -> Stability:
    """How often each edge is found in ``n_boot`` draws of the rows.

    A frequency is not the probability that an edge is true: it says how far sampling noise moves
    this method's answer, and a method that errs does so in every draw. Measure what it is worth in
    simulation: `calibration`. The bootstrap also favours denser graphs: n rows drawn with
    repetition carry the information of about n / 2 (a spurious squared correlation is 2 / n on
    average, not 1 / n), while the penalty is that of n. ``sampling='effective'`` scores each draw
    as n / 2 rows, ``'subsample'`` takes half of the rows without repetition; both lose power
    instead.

    Parameters
    ----------
    data : `Statistics` with draws, or a frame, whose draws are made here: bootstrap covariances for
        methods that need no rows, else rows (a whole number of times each).
    method, knowledge, settings : as in `discover`, which also gets ``seed`` for each draw.
    n_boot : number of draws, at least 2: of a frame 100, of `Statistics` all it has.
    seed : of the draws of a frame's rows.
    sampling : one of `SAMPLINGS`; 'subsample' needs a frame, 'effective' a method that needs no
        rows.
    n_jobs : joblib's; `joblib.parallel_config` moves the work to another backend.
    resume : a folder. Each graph is kept there, under a hash of all it came from, once it is found;
        what is there is not searched again. With a ``search`` of your own, empty the folder when
        you change it: its name is all that counts.
    progress : whether bars are shown, of the statistics and of the draws. A single draw shows none.
    search : a function of one draw that gives its graph, instead of `discover`.

    A variable that is constant in a draw (a rare event) has no edge there.

    Raises
    ------
    ValueError
        for an unknown sampling, `Statistics` without enough draws, or where `discover` raises one.

    Source: Friedman, Goldszmidt and Wyner 1999; Steck and Jaakkola 2003 (the bias); Meinshausen and
    Bühlmann 2010.

    >>> rng = np.random.default_rng(0)
    >>> x, y, u = rng.normal(size=(3, 200))
    >>> stable = edge_stability(pd.DataFrame({"x": x, "y": y, "z": x + y + u}), n_boot=20)
    >>> stable.graph(0.9).edges
    ['x -> z', 'y -> z']
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling: {sampling!r} is not one of {', '.join(SAMPLINGS)}")
    given = isinstance(data, Statistics)
    rows = sampling == "subsample" or (
        search is None and method in METHODS and METHODS[method].rows
    )
    if rows and (given or sampling == "effective"):
        able = [name for name, other in METHODS.items() if not other.rows]
        raise ValueError(
            f"sampling={sampling!r} by method {method!r} needs "
            f"{'a frame' if given else 'no rows'}; "
            f"methods for Statistics, by 'bootstrap' or 'effective': {', '.join(able)}"
        )
    draws = (data.n_draws if given else 100) if n_boot is None else n_boot
    most = data.n_draws if given else np.inf
    if not 2 <= draws <= most:
        raise ValueError(
            f"n_boot: {draws} draws wanted, at least 2 are needed for a frequency"
            + (f" and these statistics hold {most}" if given else "")
        )
    if not given:
        check_frame(data)
        data = plain(data)
    names = data.names if given else tuple(data.columns)
    if knowledge is not None:
        knowledge.allowed(names)  # says at once which variable is absent
    if search is None:
        search = partial(
            _discovered, method=method, knowledge=knowledge, seed=seed, settings=settings
        )
        what = method
    else:
        what = f"{search.__module__}.{search.__qualname__}"
    if not rows and not given:
        with without_bars(not progress):
            data = Statistics.from_frame(data, n_boot=draws, seed=seed)
    known = None
    if knowledge is not None:
        known = (
            knowledge.tiers,
            sorted(knowledge.forbidden),
            sorted(knowledge.required),
            knowledge.within_tiers,
        )
    content = None
    if rows:
        # the hash of the values alone is the same for numbers and for a category of them
        kinds = [_kind(dtype) for dtype in data.dtypes]
        content = kinds, pd.util.hash_pandas_object(data, index=False).to_numpy().tobytes()
    return frequencies(
        data,
        names,
        draws,
        search,
        sampling=sampling,
        seed=seed,
        n_jobs=n_jobs,
        resume=resume,
        key=hash_of(what, sorted(settings.items()), known, seed, sampling, names, content),
        progress=progress,
        info={"method": what, "settings": settings, "sampling": sampling, "seed": seed},
    )


def _kind(dtype):
    """What a dtype is, with the levels of a category in their order."""
    if isinstance(dtype, pd.CategoricalDtype):
        return "category", dtype.ordered, dtype.categories.tolist()
    return str(dtype)


def _discovered(sample, *, method, knowledge, seed, settings):
    names = sample.names if isinstance(sample, Statistics) else sample.columns
    knowledge = knowledge and knowledge.restrict(names)
    return discover(sample, method=method, knowledge=knowledge, seed=seed, **settings)
