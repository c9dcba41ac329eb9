"""`Table`: data as discovery methods read them, each view made once a call."""

from functools import cache, cached_property

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame
from causal_lib.discovery.encoding import encode, plain
from causal_lib.discovery.statistics import Statistics


class Table:
    """A frame, or `Statistics` without rows, and what methods see of it; every view is made at its
    first use and kept.

    Parameters
    ----------
    data : rows are observations, columns variables; or `Statistics`.

    Attributes
    ----------
    frame : the rows, see `plain`; None where ``data`` are `Statistics`.
    names : the d variables.
    rows : number of rows.

    Raises TypeError for other data and ValueError for a frame without rows, with a column named
    twice, or with names that are no text.
    """

    def __init__(self, data: pd.DataFrame | Statistics):
        self.frame = None
        self.names = ()
        if isinstance(data, Statistics):
            self.statistics = data
            self.names = data.names
            self.rows = data.rows
        else:
            check_frame(data)
            self.frame = plain(data)
            self.names = tuple(self.frame.columns)
            self.rows = len(data)
        self.encoded = cache(self._encoded)

    @cached_property
    def statistics(self) -> Statistics:
        """Counts, means and covariances of all rows; ValueError where a value is missing."""
        return Statistics.from_frame(self.frame)

    @cached_property
    def numeric(self) -> list[bool]:
        """Of each column of the frame, whether it holds numbers (or booleans)."""
        return [pd.api.types.is_numeric_dtype(dtype) for dtype in self.frame.dtypes]

    def _encoded(self, standardise: bool = True) -> tuple[np.ndarray, dict[str, str]]:
        """The frame as (n, d) numbers and how categories were turned into them: see `encode`."""
        return encode(self.frame, standardise=standardise)
