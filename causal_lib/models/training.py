"""The one training loop of the networks and recommenders, with early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causal_lib.checks import check_whole
from causal_lib.progress import progress_bar

if TYPE_CHECKING:
    import torch


def train_epochs(
    run_epoch: Callable[[], float],
    validate: Callable[[], float] | None,
    get_weights: Callable[[], object],
    set_weights: Callable[[object], object],
    *,
    epochs: int,
    patience: int,
    progress: bool = False,
    verbose: bool = False,
) -> pd.DataFrame:
    """History of a training with early stopping: columns epoch (from 1), loss, validation.

    Training stops once the validation loss has not fallen for ``patience`` epochs. The weights of
    the best epoch are restored in any case. The loop knows no framework.

    Parameters
    ----------
    run_epoch : trains for one epoch and returns the training loss.
    validate : returns the validation loss; smaller is better. None: all epochs are run, the last
        weights stay and the column holds NaN.
    get_weights, set_weights : read a copy of the weights, and put such a copy back.
    progress : show a progress bar.
    verbose : print a line every 10 epochs and one at the end.

    Raises ValueError for a loss or validation loss that is not finite.
    """
    history = []
    best_loss = np.inf
    best_epoch = 0
    best_weights = None
    for epoch in progress_bar(range(1, epochs + 1), show=progress, desc="training", unit="epoch"):
        loss = run_epoch()
        validation = np.nan if validate is None else float(validate())
        if not np.isfinite(loss) or (validate is not None and not np.isfinite(validation)):
            raise ValueError(
                f"loss {loss} and validation {validation} in epoch {epoch}; lower learning_rate"
            )
        history.append((epoch, loss, validation))
        if verbose and epoch % 10 == 0:
            print(f"Epoch {epoch}, Loss: {loss:.4f}, Val Loss: {validation:.4f}")
        if validate is None:
            continue
        if validation < best_loss:
            best_loss = validation
            best_epoch = epoch
            best_weights = get_weights()
        elif epoch - best_epoch >= patience:
            break
    if validate is not None:
        set_weights(best_weights)
        if verbose:
            print(f"Best epoch {best_epoch} of {epoch}, Val Loss: {best_loss:.4f}")
    return pd.DataFrame(history, columns=["epoch", "loss", "validation"])


def fit(
    model: torch.nn.Module,
    loss: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
    n: int,
    validate: Callable[[], float] | None,
    *,
    epochs: int = 100,
    batch_size: int | None = 2048,
    learning_rate: float = 0.02,
    patience: int = 20,
    seed: int = 0,
    progress: bool = True,
    verbose: bool = False,
) -> pd.DataFrame:
    """Train a torch ``model`` in place by Adam; the history, as of `train_epochs`.

    Parameters
    ----------
    loss : of row numbers (b,) and a generator for random draws: the mean loss of these rows.
    n : number of training rows.
    validate : called after every epoch without gradients; smaller is better.
    batch_size : rows of a step, in random order; None for one step an epoch with all rows.
    seed : of the order of the rows and of what ``loss`` draws.

    The column loss is the mean over the rows. Raises ValueError for numbers that are not positive,
    and a loss or validation that is not finite.
    """
    import torch  # here, so that Keras models are trained without it

    sizes = {"n": n, "epochs": epochs, "patience": patience}
    if batch_size is not None:
        sizes["batch_size"] = batch_size
    for name, size in sizes.items():
        check_whole(size, name=name)
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"{learning_rate=} must be positive and finite")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

    def batches():
        if batch_size is None:
            return [torch.arange(n)]
        return torch.randperm(n, generator=generator).split(batch_size)

    def run_epoch():
        model.train()
        total = 0.0
        for rows in batches():
            optimizer.zero_grad()
            value = loss(rows, generator)
            value.backward()
            optimizer.step()
            total += float(value.detach()) * len(rows)
        model.eval()
        return total / n

    def validate_without_gradients():
        with torch.no_grad():
            return validate()

    def copy_weights():
        return {name: value.clone() for name, value in model.state_dict().items()}

    return train_epochs(
        run_epoch,
        None if validate is None else validate_without_gradients,
        copy_weights,
        model.load_state_dict,
        epochs=epochs,
        patience=patience,
        progress=progress,
        verbose=verbose,
    )
