"""Structural equations as messages along the edges of a graph.

Variable j receives h_j = Σ_i W_ij x_i, a sum of messages from its parents (`torch_geometric`). Its
equation is

    out_j = h_j[linear] + V_j tanh(h_j[units] + b_j) + c_j.

For a number, out_j is the mean of a Gaussian with its own noise variance; for two levels, the
log-odds of the second; for a category, the logits against the first level. A level enters as its
indicator, so row k of W_ij is the message of level k of i to j. The linear channels have gain 1 and
|V| is at most 1, so the norm of W_ij is the strength of i → j: it cannot shrink under a penalty
while another layer grows.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import pad, softplus
from torch_geometric.nn import MessagePassing

_LOGISTIC = math.pi / math.sqrt(3)  # standard deviation of the noise behind log-odds
_LEAST_LOG_SD = -6.0  # an equation without noise would have an infinite likelihood


class Messages(MessagePassing):
    """Sums of value times weight over the edges into each target.

    Shapes: (d, rows, K), (E, K, H) → (targets, rows, H).
    """

    def __init__(self):
        super().__init__(aggr="sum", node_dim=0)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, weight: torch.Tensor, targets: int
    ) -> torch.Tensor:
        """The sums; ``edge_index`` (2, E) holds sources and targets."""
        return self.propagate(edge_index, x=(x, None), weight=weight, size=(len(x), targets))

    def message(self, x_j: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """(E, rows, H) the message of each edge."""
        return x_j @ weight


class Columns:
    """The columns of a frame as tensors.

    Attributes
    ----------
    x : (d, n, K) float32: a number or two values standardised in channel 0; a category's centred
        indicators, of total variance 1; zero beyond.
    codes : (d, n) levels; 0 for numbers.
    levels : (d,) number of levels; 0 for numbers.
    """

    def __init__(self, frame: pd.DataFrame):
        values = []
        codes = []
        levels = []
        for _, column in frame.items():
            if pd.api.types.is_numeric_dtype(column.dtype) and column.nunique() > 2:
                value = column.to_numpy(dtype=float)[:, None]
                code = np.zeros(len(column), dtype=int)
                count = 0
            else:
                code = pd.factorize(column, sort=True)[0]
                count = int(code.max()) + 1
                value = (code[:, None] == np.arange(count)[-1 if count == 2 else 0 :]).astype(float)
            value = value - value.mean(axis=0)
            values.append(value / np.sqrt(value.var(axis=0).sum()))
            codes.append(code)
            levels.append(count)
        widest = max(value.shape[1] for value in values)
        x = np.stack([np.pad(value, [(0, 0), (0, widest - value.shape[1])]) for value in values])
        self.x = torch.tensor(x, dtype=torch.float32)
        self.codes = torch.tensor(np.stack(codes))
        self.levels = torch.tensor(levels)

    @property
    def outputs(self) -> int:
        """Largest number of outputs of an equation; a category of k levels has k - 1."""
        return max(1, int(self.levels.max()) - 1)


class Equations(torch.nn.Module):
    """One equation for each of T targets; several may be of the same variable.

    Parameters
    ----------
    columns : the data.
    targets : (T,) the variable that each equation explains.
    edge_index : (2, E): a variable, and the equation that it enters.
    hidden : tanh units per equation.
    seed : of the initial weights. Equations of the same variable start from the same weights
        whatever else is fitted, so their likelihoods differ by little but their parents.
    """

    def __init__(
        self,
        columns: Columns,
        targets: torch.Tensor,
        edge_index: torch.Tensor,
        hidden: int,
        seed: int,
    ):
        super().__init__()
        (d, _, width) = columns.x.shape
        outputs = columns.outputs
        draw = torch.Generator().manual_seed(seed)
        weight = 0.1 * torch.randn(d, d, width, outputs + hidden, generator=draw)
        weight[..., :outputs] = 0
        bias = torch.randn(d, 1, hidden, generator=draw)
        outer = 2 * torch.rand(d, hidden, outputs, generator=draw) - 1
        self.columns = columns
        self.targets = targets
        self.edge_index = edge_index
        self.messages = Messages()
        self.weight = torch.nn.Parameter(weight[edge_index[0], targets[edge_index[1]]])
        self.bias = torch.nn.Parameter(bias[targets])
        self.outer = torch.nn.Parameter(outer[targets])
        self.shift = torch.nn.Parameter(torch.zeros(len(targets), 1, outputs))
        self.log_sd = torch.nn.Parameter(torch.zeros(len(targets), 1))
        logits = columns.levels[targets][edge_index[1]] - 1
        self.unit = torch.where(logits > 0, _LOGISTIC * logits.clamp(min=1).sqrt(), 1.0)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(T, rows, outputs) means of standardised numbers, log-odds and logits."""
        received = self.messages(
            self.columns.x[:, rows], self.edge_index, self.weight, len(self.targets)
        )
        linear = received[..., : self.shift.shape[2]]
        units = received[..., self.shift.shape[2] :]
        return linear + torch.tanh(units + self.bias) @ self.outer + self.shift

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """(T, rows) negative log-likelihoods in nats.

        Gaussian for standardised numbers, otherwise of the observed level.
        """
        out = self(rows)
        levels = self.columns.levels[self.targets]
        codes = self.columns.codes
        loss = out.new_zeros(out.shape[:2])
        numeric = levels == 0
        error = (
            self.columns.x[self.targets[numeric]][:, rows, 0] - out[numeric, :, 0]
        ) * torch.exp(-self.log_sd[numeric])
        loss[numeric] = 0.5 * error.square() + self.log_sd[numeric] + 0.5 * math.log(2 * math.pi)
        binary = levels == 2
        if binary.any():
            log_odds = out[binary, :, 0]
            loss[binary] = softplus(log_odds) - codes[self.targets[binary]][:, rows] * log_odds
        nominal = levels > 2
        if nominal.any():
            logits = pad(out[nominal], (1, 0))  # the first level's is 0
            absent = torch.arange(logits.shape[2]) >= levels[nominal][:, None, None]
            code = codes[self.targets[nominal]][:, rows, None]
            loss[nominal] = (
                logits.masked_fill(absent, -torch.inf).logsumexp(2) - logits.gather(2, code)[..., 0]
            )
        return loss

    def strength(self) -> torch.Tensor:
        """(E,) norm of each edge's weights; for logits, in standard deviations of their noise."""
        return (self.weight.square().sum((1, 2)) + 1e-12).sqrt() / self.unit  # smooth at 0

    def train_on(self, rows: torch.Tensor, loss, optimizer):
        """One optimiser step on the mean loss over ``rows`` plus ``loss``, then clipping."""
        optimizer.zero_grad()
        (self.loss(rows).mean(dim=1).sum() + loss).backward()
        optimizer.step()
        with torch.no_grad():
            self.outer.clamp_(-1, 1)
            self.log_sd.clamp_(min=_LEAST_LOG_SD)
