"""Scores and penalties by hand."""

import numpy as np
import pytest
import torch

from causal_lib.models.factors import Factors


@pytest.mark.parametrize("levels", [True, False])
def test_scores_and_squared_lengths_by_hand(levels):
    torch.manual_seed(0)
    model = Factors((3, 4), 2, mean=1.5, levels=levels)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    u, i = (part.weight.detach().numpy() for part in (model.user, model.item))
    of_u, of_i = (
        (part.weight.detach().numpy()[:, 0] for part in model.levels)
        if levels
        else (np.zeros(3), np.zeros(4))
    )
    expected = 1.5 + of_u[:, None] + of_i + u @ i.T
    users = np.array([0, 2, 2, 1, 0])
    items = np.array([3, 0, 1, 1, 3])
    as_tensors = torch.from_numpy(users), torch.from_numpy(items)
    assert model(*as_tensors).detach().numpy() == pytest.approx(expected[users, items], rel=1e-5)
    assert model.all_items(torch.tensor([2, 0])).detach().numpy() == pytest.approx(
        expected[[2, 0]], rel=1e-5
    )
    lengths = (
        (u**2).sum(axis=1)[users] + (i**2).sum(axis=1)[items] + of_u[users] ** 2 + of_i[items] ** 2
    )
    assert model.size(*as_tensors).item() == pytest.approx(lengths.mean(), rel=1e-5)
