"""The network: how much each candidate counts for each row, and how far off the answer may be.

A table is a set of candidates. A candidate's state is made of its statistics, of its learned name
and of the table's features, and the candidates exchange their mean and maximum. For each row, a
candidate's state is joined by what it says of the row; weights are a softmax over the candidates.
The network depends on the number of rows and columns only by the table's features.

The effect of a row, in units of the table's scale and from the average effect, is

    δ = g Σ_k w_k d_k + λ Σ_k w_k o_k + Σ_k a_k d_k

with d_k the candidate's difference from its own level, o_k that level less the average effect,
g in [0, 1.5] a shrinkage, λ in [0, 1] how much of the candidates' levels is taken, and a_k small
small weights of either sign, which reach beyond the candidates' hull. A half-width b goes with it.

Of the table it says A, how far its average effect is from that of the doubly robust scores, as a
shrunken mixture of the candidates' levels; and how much each regression of the outcome counts in
the expected outcomes of the arms.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from causal_lib.inference.pretrained.candidates import OUTCOMES
from causal_lib.inference.pretrained.features import ODD, OF_TABLE

_MOST = 8.0  # deviations at which a standardised feature is cut
_BEYOND = 0.3  # the greatest weight beyond the hull
_SHARES = [OF_TABLE.index(f"share of {kind}") for kind in OUTCOMES]


class Answers(NamedTuple):
    """What a network says.

    Attributes
    ----------
    effects, widths : (tables, m) δ and log b.
    averages : (tables,) A.
    shares : (tables, 2, kinds) of the regressions of the outcome in that of each arm.
    """

    effects: Tensor
    widths: Tensor
    averages: Tensor
    shares: Tensor


class EffectNetwork(nn.Module):
    """Effects of rows and their half-widths from the features of `features`.

    Parameters
    ----------
    candidates : the number of them.
    of_cell, of_row, of_candidate, of_table : the numbers of features.
    hidden : size of the states.
    residual : whether weights beyond the hull are used (ablation).
    """

    def __init__(
        self,
        candidates: int,
        of_cell: int,
        of_row: int,
        of_candidate: int,
        of_table: int,
        *,
        hidden: int = 32,
        residual: bool = True,
    ):
        super().__init__()
        self.residual = residual
        for name, size in {
            "cells": (candidates, of_cell),
            "rows": (of_row,),
            "candidates": (candidates, of_candidate),
            "table": (of_table,),
        }.items():
            start = torch.stack([torch.zeros(size), torch.ones(size)])
            self.register_buffer(f"{name}_scale", start)
        self.name = nn.Parameter(0.1 * torch.randn(candidates, 8))
        self.read_table = nn.Sequential(nn.Linear(of_table, hidden), nn.GELU())
        self.read = _mlp(of_candidate + 8 + hidden, hidden, hidden)
        self.exchange = _mlp(3 * hidden, hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.state_of_cell = nn.Linear(hidden, hidden)
        self.read_cell = nn.Linear(of_cell, hidden, bias=False)
        self.read_row = nn.Linear(of_row, hidden, bias=False)
        self.change = nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.pool = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU())
        self.weigh = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), nn.Linear(hidden, 2))
        self.answer = nn.Linear(hidden, 3)
        self.weigh_levels = nn.Linear(hidden, 1)
        self.of_table = nn.Linear(3 * hidden, 1 + 2 * len(OUTCOMES))
        # it begins as a mean of the candidates, shrunk by half
        nn.init.zeros_(self.weigh[-1].weight)
        nn.init.zeros_(self.weigh[-1].bias)
        for part in (self.answer, self.weigh_levels, self.of_table):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        nn.init.constant_(self.of_table.bias[0], -3.0)  # no correction of the average

    def forward(self, cells: Tensor, rows: Tensor, candidates: Tensor, table: Tensor) -> Answers:
        """The answer to each table and row.

        Parameters
        ----------
        cells, rows, candidates, table : (tables, m, candidates, ...), (tables, m, ...),
            (tables, candidates, ...), (tables, ...), as in `features`.
        """
        difference = cells[..., 0]
        offset = candidates[..., 0]
        once = self._standard("table", table)
        known = self.read_table(once)[:, None].expand(-1, candidates.shape[1], -1)
        named = self.name.expand(len(table), -1, -1)
        state = self.read(torch.cat([self._standard("candidates", candidates), named, known], 2))
        both = torch.cat(
            [state, *(x[:, None].expand_as(state) for x in (state.mean(1), state.amax(1)))], 2
        )
        state = self.norm(state + self.exchange(both))
        cell = self.state_of_cell(state)[:, None] + self.read_cell(self._standard("cells", cells))
        cell = self.change(cell + self.read_row(self._standard("rows", rows))[:, :, None])
        whole = self.pool(torch.cat([cell.mean(2), cell.amax(2)], 2))
        said = self.weigh(torch.cat([cell, whole[:, :, None].expand_as(cell)], 3))
        weights = torch.softmax(said[..., 0], 2)
        shrink, level, width = self.answer(whole).unbind(2)
        found = 1.5 * torch.sigmoid(shrink) * (weights * difference).sum(2)
        found = found + torch.sigmoid(level) * (weights * offset[:, None]).sum(2)
        if self.residual:
            found = found + _BEYOND * (torch.tanh(said[..., 1]) * difference).sum(2)
        whole = torch.cat([state.mean(1), state.amax(1), known[:, 0]], 1)
        gate, logits = self.of_table(whole).split([1, 2 * len(OUTCOMES)], 1)
        levels = torch.softmax(self.weigh_levels(state)[..., 0], 1)
        average = torch.sigmoid(gate[:, 0]) * (levels * offset).sum(1)
        usual = torch.log(table[:, None, _SHARES].clamp(0, 1) + 0.02)
        shares = torch.softmax(usual + logits.reshape(-1, 2, len(OUTCOMES)), 2)
        return Answers(found, width.clamp(-6, 6), average, shares)

    def both_signs(self, cells: Tensor, rows: Tensor, candidates: Tensor, table: Tensor) -> Answers:
        """As `forward`, averaged with the answer to the outcome of the other sign.

        So an outcome of the other sign has exactly the other effects.
        """
        forth = self(cells, rows, candidates, table)
        signs = signs_of(-1.0)
        back = self(
            cells * signs["cells"], rows * signs["rows"], candidates * signs["candidates"], table
        )
        return Answers(
            (forth.effects - back.effects) / 2,
            (forth.widths + back.widths) / 2,
            (forth.averages - back.averages) / 2,
            (forth.shares + back.shares) / 2,
        )

    def _standard(self, name, values):
        middle, spread = getattr(self, f"{name}_scale")
        return ((values - middle) / spread).clamp(-_MOST, _MOST)


def signs_of(sign: float) -> dict[str, Tensor]:
    """What features of each kind are multiplied by when the outcome is multiplied by ``sign``."""
    return {
        name: torch.where(torch.from_numpy(odd), torch.tensor(sign), torch.tensor(1.0))
        for name, odd in ODD.items()
    }


def _mlp(inside, hidden, outside):
    return nn.Sequential(nn.Linear(inside, hidden), nn.GELU(), nn.Linear(hidden, outside))
