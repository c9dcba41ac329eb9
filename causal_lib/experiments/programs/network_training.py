"""Three ways to spend the time of training the article's network, for the benchmark models.dnn.

The folder holds ``X_train.npy``, ``y_train.npy``, ``X_val.npy`` and ``y_val.npy``. Each function
returns the call to be timed. Losses are (epochs, 2): those of the training and of the validation
rows.
"""

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout


def own(dtype: str, epochs: int, batch_size: int = 0) -> Callable[[], dict]:
    """Our training loop; a ``batch_size`` of 0 means all rows in one step."""
    from causal_lib.models.dnn import train_model

    model, data = _network_and_data(dtype)
    how = {
        "epochs": epochs,
        "patience": epochs,
        "batch_size": batch_size or len(data[1]),
        "verbose": False,
    }

    def train():
        history = train_model(model, *data, **how)
        return {
            "rows": len(data[1]) * epochs,
            "losses": history[["loss", "val_loss"]].to_numpy().tolist(),
        }

    return train


def article(dtype: str, epochs: int) -> Callable[[], dict]:
    """The article's training loop."""
    model, data = _network_and_data(dtype)
    train_model = article_loop(epochs)

    def train():
        with redirect_stdout(io.StringIO()) as printed:
            train_model(model, *data)
        return {"rows": len(data[1]) * epochs, "losses": printed_losses(printed.getvalue())}

    return train


def article_loop(num_epochs: int) -> Callable:
    """``train_model`` of the article's section 5.3.3 as printed; it does not say ``num_epochs``."""
    import tensorflow as tf
    from tensorflow.keras.optimizers import Adam

    def train_model(model, X_train, y_train, X_val, y_val):
        loss_fn = tf.keras.losses.BinaryCrossentropy()
        optimizer = Adam(learning_rate=0.001)

        for epoch in range(num_epochs):
            with tf.GradientTape() as tape:
                predictions = model(X_train, training=True)
                loss = loss_fn(y_train, predictions)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=False))

            val_predictions = model(X_val, training=False)
            val_loss = loss_fn(y_val, val_predictions)

            print(f"Epoch {epoch + 1}, Loss: {loss}, Val Loss: {val_loss}")

    return train_model


def printed_losses(text: str) -> list[list[float]]:
    """The losses in the lines that the article's loop prints."""
    found = [float(number) for number in re.findall(r"Loss: ([\d.e+-]+)", text)]
    return [list(pair) for pair in zip(found[::2], found[1::2], strict=True)]


def matrix_products(dtype: str, epochs: int) -> Callable[[], dict]:
    """The products that no training can do without: both passes of the training rows, one of the
    validation rows.
    """
    model, data = _network_and_data(dtype)
    rows = len(data[1])
    weights = [weight.numpy() for weight in model.trainable_variables if weight.ndim == 2]

    def multiply():
        batches = [
            part[start : start + 1024].astype(dtype)
            for part in data[::2]
            for start in range(0, len(part), 1024)
        ]
        for _ in range(epochs):
            for number, batch in enumerate(batches):
                steps = [batch]
                for weight in weights:
                    steps.append(steps[-1] @ weight)
                if number * 1024 >= rows:  # validation
                    continue
                back = steps.pop()
                for weight in reversed(weights):
                    steps.pop().T @ back  # a gradient, of which only the cost matters
                    if steps:
                        back = back @ weight.T
        return {"rows": rows * epochs}

    return multiply


def _network_and_data(dtype):
    """The network of `build_model` and the arrays of the folder; TensorFlow on one thread."""
    import numpy as np
    import tensorflow as tf

    from causal_lib.models.dnn import build_model

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.backend.set_floatx(dtype)
    data = [np.load(f"{name}.npy") for name in ("X_train", "y_train", "X_val", "y_val")]
    return build_model(data[0].shape[1:], dtype=dtype), data
