"""The training loop by hand: what an epoch's loss is the mean of, when it stops, whose weights are
left.
"""

import numpy as np
import pytest
import torch

from causal_lib.models.recommender import Recommender
from causal_lib.models.training import fit, train_epochs


class _Point(torch.nn.Module):
    """One number, pulled towards ``aim``."""

    def __init__(self):
        super().__init__()
        self.at = torch.nn.Parameter(torch.zeros(1))

    def pull(self, rows, generator):
        return ((self.at - 3.0) ** 2).sum()


def test_the_loss_of_an_epoch_is_the_mean_over_rows_not_over_batches():
    model = _Point()
    sizes = []

    def loss(rows, generator):
        sizes.append(len(rows))
        return (rows.float() ** 2).mean() + 0 * model.at.sum()

    history = fit(model, loss, 5, None, epochs=3, batch_size=2, progress=False)
    assert sizes == [2, 2, 1] * 3
    assert history["loss"].tolist() == pytest.approx([6.0] * 3)  # (0 + 1 + 4 + 9 + 16) / 5
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["validation"].isna().all()


def test_the_defaults_of_training():
    model = _Point()
    sizes = []

    def loss(rows, generator):
        sizes.append(len(rows))
        return model.pull(rows, generator)

    fit(model, loss, 2049, None, epochs=1, progress=False)
    assert sizes == [2048, 1]
    assert model.at.item() == pytest.approx(
        2 * 0.02, rel=1e-3
    )  # Adam moves by its rate while the gradient keeps its sign
    assert len(fit(_Point(), model.pull, 1, None, progress=False)) == 100
    assert len(fit(_Point(), model.pull, 1, lambda: 1.0, progress=False)) == 1 + 20


@pytest.mark.parametrize(
    ("patience", "epochs", "ran", "best"),
    [(2, 9, 4, 2), (3, 9, 9, 6), (3, 7, 7, 6), (3, 5, 5, 5), (1, 9, 3, 2)],
)
def test_training_stops_without_a_fall_and_leaves_the_best_weights(patience, epochs, ran, best):
    model = _Point()
    after = []
    values = iter([5, 4, 4, 4.5, 3, 2, 2, 2.5, 7])

    def validate():
        assert not model.training
        after.append(model.at.item())
        return next(values)

    history = fit(
        model,
        model.pull,
        4,
        validate,
        epochs=epochs,
        batch_size=4,
        patience=patience,
        progress=False,
    )
    assert len(history) == len(set(after)) == ran
    assert model.at.item() == after[best - 1]
    found = Recommender("made", (1, 1), None, history)
    assert found.epoch == best
    assert history["validation"].tolist() == [5, 4, 4, 4.5, 3, 2, 2, 2.5, 7][:ran]


def test_without_validation_the_last_weights_stay():
    model = _Point()
    seen = []

    def loss(rows, generator):
        seen.append(model.at.item())
        return model.pull(rows, generator)

    history = fit(model, loss, 4, None, epochs=3, learning_rate=0.5, progress=False)
    assert model.at.item() > max(seen) > 0
    assert Recommender("made", (1, 1), None, history).epoch == 3


def test_rows_are_shuffled_by_the_seed():
    def orders(seed):
        found = []
        fit(_Point(), lambda rows, g: found.append(rows.tolist()) or torch.zeros(1, requires_grad=True).sum(), 9, None, epochs=2,
            seed=seed, progress=False)  # fmt: skip
        return found

    first = orders(0)
    assert [sorted(one) for one in first] == [list(range(9))] * 2
    assert first[0] != first[1]
    assert orders(0) == first != orders(1)


def test_the_number_of_threads_moves_no_digit_that_is_read():
    """Sums of matrix products in another order differ by rounding, which training must not blow up.

    The bounds are a hundred times what single precision rounds.
    """
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 64, generator=rng)
    y = (x[:, :1] > 0).float()

    def trained():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1)
        )

        def loss(rows, generator):
            return torch.nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows])

        history = fit(model, loss, len(x), None, epochs=3, batch_size=512, progress=False)
        return history["loss"].to_numpy(), torch.sigmoid(model(x)).detach().numpy()

    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(trained())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    (losses, shares), *others = found
    for other_losses, other_shares in others:
        np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
        np.testing.assert_allclose(other_shares, shares, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"epochs": 0},
        {"epochs": 1.5},
        {"learning_rate": np.inf},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0},
        {"learning_rate": -1},
    ],
)
def test_numbers_that_are_not_positive_are_refused(change):
    with pytest.raises(
        ValueError, match=r"must be positive|a whole number of at least 1 is needed"
    ):
        fit(_Point(), _Point().pull, **({"n": 3, "validate": None} | change))


@pytest.mark.parametrize(
    ("loss", "value"), [(np.inf, 1.0), (np.nan, 1.0), (1.0, np.inf), (1.0, np.nan)]
)
def test_what_is_not_finite_is_refused(loss, value):
    model = _Point()
    with pytest.raises(ValueError, match="in epoch 1; lower learning_rate"):
        fit(model, lambda rows, generator: model.at.sum() + loss, 3, lambda: value, progress=False)


def test_one_step_an_epoch_takes_the_rows_in_order():
    model = _Point()
    seen = []

    def loss(rows, generator):
        seen.append(rows.tolist())
        return model.pull(rows, generator)

    fit(model, loss, 5, None, epochs=2, batch_size=None, progress=False)
    assert seen == [[0, 1, 2, 3, 4]] * 2


def test_validation_makes_no_gradients():
    model = _Point()
    asked = []
    fit(
        model,
        model.pull,
        3,
        lambda: asked.append(torch.is_grad_enabled()) or 1.0,
        epochs=2,
        progress=False,
    )
    assert asked == [False, False]
    assert torch.is_grad_enabled()


def test_the_loop_of_any_framework(capsys):
    """Weights are a number that grows by one an epoch; the best is the 12th of 14, as two more do
    not fall.
    """
    state = {"weights": 0}

    def run_epoch():
        state["weights"] += 1
        return 10.0 - state["weights"] / 2

    history = train_epochs(
        run_epoch,
        lambda: abs(state["weights"] - 12),
        lambda: state["weights"],
        lambda weights: state.update(weights=weights),
        epochs=30,
        patience=2,
        verbose=True,
    )
    assert state["weights"] == 12
    assert history["epoch"].tolist() == list(range(1, 15))
    assert history["validation"].tolist() == [*range(11, -1, -1), 1, 2]
    lines = ["Epoch 10, Loss: 5.0000, Val Loss: 2.0000", "Best epoch 12 of 14, Val Loss: 0.0000"]
    assert capsys.readouterr().out.splitlines() == lines
