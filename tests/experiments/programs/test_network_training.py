"""The article's loop, and that ours takes the same steps."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import tensorflow as tf

from causal_lib.experiments.programs.network_training import article_loop, printed_losses
from causal_lib.models.dnn import build_model, train_model


def test_our_steps_of_all_rows_are_those_of_the_article_s_loop():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = rng.integers(2, size=500)
    rows = (X[:400], y[:400], X[400:], y[400:])
    said = io.StringIO()
    before = tf.keras.backend.floatx()
    try:
        tf.keras.backend.set_floatx("float64")  # else its loss is computed in single precision
        with redirect_stdout(said):
            article_loop(7)(build_model((3,), dtype="float64"), *rows)
        how = {"epochs": 7, "patience": 7, "batch_size": 400, "verbose": False}
        history = train_model(build_model((3,), dtype="float64"), *rows, **how)
    finally:
        tf.keras.backend.set_floatx(before)
    losses = np.array(printed_losses(said.getvalue()))
    assert losses == pytest.approx(history[["loss", "val_loss"]].to_numpy(), abs=1e-12)
    assert np.ptp(losses[:, 0]) > 0.01
