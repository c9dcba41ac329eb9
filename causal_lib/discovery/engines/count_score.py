"""Scores of a categorical variable and its parents from counts of their joint levels.

Only the cells of a table that occur are visited. The rows are sorted by the joint level of the
parents P, one parent after the other, so that the rows of each joint level stand together. Then one
pass over the rows gives the counts for P and one further parent. Its cost does not depend on the
number of joint levels, which may be far above the number of rows.

With N rows, r levels of z and q joint levels of P, where n_j and n_jk count the rows of joint level
j, and those of them with level k of z, the scores are:

- fit(z | P) = -2 Σ n_jk ln(n_jk / n_j);
- 'bic': fit(z | P) + penalty · ln N · q (r - 1);
- 'nml': fit(z | P) + 2 penalty · (code(P, z) - code(P)), where code(S), in nats, is what the
  frequencies of the variables S cost to describe: which K of their R joint levels occur, ln
  binomial(R, K), and the normaliser of a multinomial of K cells, see `regret`. A table with many
  empty cells is cheap, a function of the parents above all, while a variable with about as many
  levels as rows explains nothing;
- 'bdeu': -2 ln of the marginal likelihood under Dirichlet priors of ``prior_rows`` imagined rows in
  all, evenly over the q r cells.

To each, ``per_parent`` is added for each parent: the price of choosing it among all variables. All
three are the same for graphs of one Markov equivalence class. Smaller is better.

Sources: BDeu, Heckerman, Geiger and Chickering 1995; quotient NML, Silander and others, AISTATS
2018, here with a code for the cells that occur; the regret, Szpankowski and Weinberger, IEEE
Transactions on Information Theory 58 (2012); the price of a parent, Chen and Chen, Biometrika 95
(2008).
"""

import math
from typing import NamedTuple

import numpy as np

from causal_lib.discovery.compiled import njit

SCORES = ("nml", "bic", "bdeu")
NML, BIC, BDEU = range(3)
MAX_LEVELS = 1_000  # a variable of more levels is an identifier


class Table(NamedTuple):
    """The data of d variables in n rows and how they are scored."""

    codes: np.ndarray  # (d, n) int16, the level of each variable in each row, from 0 on
    levels: np.ndarray  # (d,) number of levels of each variable
    n_log_n: np.ndarray  # (n + 1,) k ln k of the numbers from 0 to n
    score: int  # NML, BIC or BDEU
    penalty: float  # factor of the price of 'nml' and 'bic'
    prior_rows: float  # imagined rows of 'bdeu'
    per_parent: float  # the price of a parent, whatever its levels


def make_table(
    codes: np.ndarray,
    score: str = "nml",
    *,
    penalty: float = 1.0,
    prior_rows: float = 1.0,
    per_parent: float = 0.0,
) -> Table:
    """The `Table` of (n, d) ``codes``, each column counting its levels from 0 on."""
    codes = np.ascontiguousarray(np.asarray(codes).T, dtype=np.int16)
    numbers = np.arange(codes.shape[1] + 1.0)
    return Table(
        codes=codes,
        levels=codes.max(axis=1).astype(np.int64) + 1,
        n_log_n=numbers * np.log(np.maximum(numbers, 1.0)),
        score=SCORES.index(score),
        penalty=float(penalty),
        prior_rows=float(prior_rows),
        per_parent=float(per_parent),
    )


@njit()
def regret(n, cells):
    """ln of the normaliser of the maximum likelihood of ``n`` rows in a multinomial of so many
    ``cells``, to about 0.1 for 100 rows and better for more, whatever the number of cells.
    """
    if cells <= 1.0:
        return 0.0
    a = cells / n
    root = math.sqrt(1.0 + 4.0 / a)
    above = 2.0 / (a * (root + 1.0))  # c = 1 + above, without loss of digits where a is large
    log_c = math.log1p(above)
    fit = n * (math.log(a) + (a + 2.0) * log_c - 1.0 / (1.0 + above))
    return fit - 0.5 * math.log(1.0 + above + 2.0 / a)


@njit()
def log_binomial(cells, chosen):
    """ln of the number of ways to choose so many of ``cells``, with digits where these are far
    more.
    """
    if cells < 1e6 or chosen > cells / 2:
        return math.lgamma(cells + 1) - math.lgamma(chosen + 1) - math.lgamma(cells - chosen + 1)
    fewer = -(cells - chosen + 0.5) * math.log1p(-chosen / cells) - chosen  # Stirling
    return chosen * math.log(cells) + fewer - math.lgamma(chosen + 1)


@njit()
def _sort_rows(codes, levels, parents, rows, starts):
    """Sort ``rows`` by the joint level of ``parents``; the number of blocks of equal joint level.

    Block b is rows[starts[b] : starts[b + 1]].
    """
    n = codes.shape[1]
    blocks = 1
    starts[0] = 0
    starts[1] = n
    for i in range(n):
        rows[i] = i
    sorted_rows = np.empty(n, np.int32)
    new_starts = np.empty(n + 1, np.int32)
    for p in parents:
        place = np.empty(levels[p] + 1, np.int64)
        new_blocks = 0
        for b in range(blocks):
            place[:] = 0
            for i in range(starts[b], starts[b + 1]):
                place[codes[p, rows[i]] + 1] += 1
            at = np.int64(starts[b])
            for k in range(levels[p]):
                count = place[k + 1]
                place[k] = at
                if count > 0:
                    new_starts[new_blocks] = at
                    new_blocks += 1
                at += count
            for i in range(starts[b], starts[b + 1]):
                level = codes[p, rows[i]]
                sorted_rows[place[level]] = rows[i]
                place[level] += 1
        new_starts[new_blocks] = n
        blocks = new_blocks
        rows[:] = sorted_rows
        starts[: blocks + 1] = new_starts[: blocks + 1]
    return blocks


@njit()
def score_parents(table, z, parents, more):
    """(len(more),) scores of z with ``parents`` and one further parent each, -1 for no further one.

    ``more`` are numbers of variables.
    """
    codes = table.codes
    levels = table.levels
    n = codes.shape[1]
    r = levels[z]
    rows = np.empty(n, np.int32)
    starts = np.empty(n + 1, np.int32)
    blocks = _sort_rows(codes, levels, parents, rows, starts)
    of_z = np.empty(n, np.int32)
    for i in range(n):
        of_z[i] = codes[z, rows[i]]
    q_before = 1.0
    for p in parents:
        q_before *= levels[p]
    widest = 1
    for c in more:
        if c >= 0:
            widest = max(widest, levels[c])
    count = np.zeros(widest * r, np.int64)  # of each level of the further parent and of z
    total = np.zeros(widest, np.int64)  # of each level of the further parent
    seen = np.empty(min(n, widest * r), np.int64)
    seen_levels = np.empty(min(n, widest), np.int64)
    scores = np.empty(len(more))
    for m in range(len(more)):
        c = more[m]
        q = q_before * (1.0 if c < 0 else levels[c])
        prior = table.prior_rows / (q * r)
        log_gamma = math.lgamma(prior)
        log_gamma_all = math.lgamma(prior * r)
        fit = 0.0
        cells = 0  # joint levels of all parents and z that occur
        cells_before = 0  # those of all parents
        for b in range(blocks):
            n_seen = 0
            for i in range(starts[b], starts[b + 1]):
                cell = np.int64(of_z[i])
                if c >= 0:
                    cell += codes[c, rows[i]] * r
                if count[cell] == 0:
                    seen[n_seen] = cell
                    n_seen += 1
                count[cell] += 1
            n_levels = 0
            for s in range(n_seen):
                cell = seen[s]
                level = cell // r
                if total[level] == 0:
                    seen_levels[n_levels] = level
                    n_levels += 1
                total[level] += count[cell]
                if table.score == BDEU:
                    fit += math.lgamma(prior + count[cell]) - log_gamma
                else:
                    fit += table.n_log_n[count[cell]]
                count[cell] = 0
            cells += n_seen
            cells_before += n_levels
            for s in range(n_levels):
                level = seen_levels[s]
                if table.score == BDEU:
                    fit -= math.lgamma(prior * r + total[level]) - log_gamma_all
                else:
                    fit -= table.n_log_n[total[level]]
                total[level] = 0
        price = 0.0
        if table.score == NML:
            code = regret(n, float(cells)) + log_binomial(q * r, cells)
            code -= regret(n, float(cells_before)) + log_binomial(q, cells_before)
            price = 2.0 * table.penalty * code
        elif table.score == BIC:
            price = table.penalty * math.log(n) * q * (r - 1)
        n_parents = len(parents) + (c >= 0)
        scores[m] = price + table.per_parent * n_parents - 2.0 * fit
    return scores
