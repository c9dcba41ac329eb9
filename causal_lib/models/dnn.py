"""Deep neural network (article 4.3.4, 5.2, 5.3.2, 5.3.3): the article's `build_model` and `train_model`, working.

The article's loop feeds all rows in one step, never names ``num_epochs`` and prints every epoch; here it is
mini-batches, early stopping on the validation loss, and a line every 10 epochs.
"""

import os
import sys
import tempfile

import numpy as np
import pandas as pd

from causal_lib.data import schema

# TensorFlow's C++ core writes to stderr what is no news to a reader: level 1 hides its information lines (processor
# features). A user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

_NO_NEWS = (
    b"Could not find cuda drivers",
    b"failed call to cuInit",
    b"All log messages before absl::InitializeLog()",
    b"oneDNN custom operations are on",  # said on some processors only
)


def _import_tensorflow():
    """The module; the lines that tell of no GPU, or of oneDNN, are left out, every other line is passed on.

    They come before the log level is read, so no setting reaches them, and would stand as errors in a notebook.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices("GPU")  # looks for a driver now rather than in the first operation
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if not any(known in line for known in _NO_NEWS)))
    return tensorflow


tf = _import_tensorflow()


def build_model(input_shape: tuple[int, ...], *, dtype: str = "float32", seed: int = 0):
    """The article's network (5.2): Dense 128 relu, Dense 64 relu, Flatten, Dense 1 sigmoid, as a `keras.Model`.

    ``input_shape`` is that of one row, ``X_train.shape[1:]``; ``dtype`` ``"float32"``, or ``"float64"`` where printed
    digits must agree between processors; ``seed`` that of the Glorot-uniform initial weights.

    >>> build_model((20,)).count_params() == 20 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    True
    """
    if len(input_shape) == 0 or any(not isinstance(n, int | np.integer) or n < 1 for n in input_shape):
        raise ValueError(f"build_model: input_shape={input_shape!r}; give the shape of one row, X_train.shape[1:]")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"build_model: dtype={dtype!r} is unknown; choose 'float32' or 'float64'")

    def dense(units, activation, number):
        start = tf.keras.initializers.GlorotUniform(seed=3 * seed + number)  # a seed of its own for each layer
        return tf.keras.layers.Dense(units, activation=activation, kernel_initializer=start, dtype=dtype)

    flatten = tf.keras.layers.Flatten(dtype=dtype)
    inputs = tf.keras.layers.Input(shape=input_shape, dtype=dtype)
    hidden = dense(64, "relu", 1)(dense(128, "relu", 0)(inputs))
    return tf.keras.Model(inputs=inputs, outputs=dense(1, "sigmoid", 2)(flatten(hidden)))


def train_model(
    model,
    X_train,
    y_train,
    X_val,
    y_val,
    *,
    epochs: int = 100,
    batch_size: int = 1024,
    learning_rate: float = 0.001,
    patience: int = 10,
    seed: int = 0,
    verbose: bool = True,
) -> pd.DataFrame:
    """History of the training, one row per epoch run: columns epoch (from 1), loss, val_loss.

    ``model`` is trained in place: own gradient step (`GradientTape`), Adam, binary cross-entropy. ``loss`` is the mean
    over the epoch's mini-batches as they are passed, ``val_loss`` that of all validation rows after the epoch. When
    ``val_loss`` has not fallen for ``patience`` epochs training stops; the weights of the best epoch are restored in
    any case. Every 10 epochs a line is printed. ``seed`` gives the order of the rows: the same seed gives the same
    weights on the same machine and number of threads. A loss that diverges is a ValueError.
    """
    dtype = model.inputs[0].dtype
    X_train, y_train = _tensors(X_train, y_train, model, "train")
    X_val, y_val = _tensors(X_val, y_val, model, "val")
    if min(epochs, batch_size, patience) < 1 or not learning_rate > 0:
        raise ValueError("train_model: epochs, batch_size, patience and learning_rate must be positive")
    loss_fn = tf.keras.losses.BinaryCrossentropy(reduction="sum", dtype=dtype)
    weights, optimizer = model.trainable_variables, tf.keras.optimizers.Adam(learning_rate=learning_rate)
    optimizer.build(weights)
    n = len(X_train)

    @tf.function  # one graph for a whole epoch: a step of this small network is cheaper than a call from Python
    def train_epoch(order):
        total = tf.zeros((), dtype)
        for start in tf.range(0, n, batch_size):
            rows = order[start : start + batch_size]
            X, y = tf.gather(X_train, rows), tf.gather(y_train, rows)
            with tf.GradientTape() as tape:
                batch_loss = loss_fn(y, model(X, training=True))
                loss = batch_loss / tf.cast(tf.size(rows), dtype)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            total += batch_loss
        return total / n

    @tf.function
    def validate():
        total = tf.zeros((), dtype)
        for start in tf.range(0, len(X_val), batch_size):
            rows = slice(start, start + batch_size)
            total += loss_fn(y_val[rows], model(X_val[rows], training=False))
        return total / len(X_val)

    # Traced once, here: called directly, the functions of several short trainings look like retracing, with a warning.
    train_epoch = train_epoch.get_concrete_function(tf.TensorSpec([n], tf.int64))
    validate = validate.get_concrete_function()
    rng = np.random.default_rng(seed)
    history, best, best_weights = [], np.inf, None
    for epoch in range(1, epochs + 1):
        loss = float(train_epoch(tf.constant(rng.permutation(n))))
        val_loss = float(validate())
        if not np.isfinite(loss + val_loss):
            raise ValueError(f"train_model: loss {loss}, validation {val_loss} in epoch {epoch}; lower learning_rate")
        history.append((epoch, loss, val_loss))
        if verbose and epoch % 10 == 0:
            print(f"Epoch {epoch}, Loss: {loss:.4f}, Val Loss: {val_loss:.4f}")
        if val_loss < best:
            best, best_epoch, best_weights = val_loss, epoch, model.get_weights()
        elif epoch - best_epoch >= patience:
            break
    model.set_weights(best_weights)
    if verbose:
        print(f"Best epoch {best_epoch} of {epoch}, Val Loss: {best:.4f}")
    return pd.DataFrame(history, columns=["epoch", "loss", "val_loss"])


def predict(model, X, *, batch_size: int = 8192) -> np.ndarray:
    """(n,) predicted probabilities of the rows of ``X``."""
    X = np.asarray(X, dtype=model.inputs[0].dtype)
    # not model.predict: it compiles a function for every model and warns on stderr from the fifth on
    parts = [model(X[start : start + batch_size], training=False) for start in range(0, len(X), batch_size)]
    return np.concatenate(parts)[:, 0].astype(float)


def _tensors(X, y, model, part):
    X, expected = np.asarray(X, dtype=model.inputs[0].dtype), model.input_shape[1:]
    if X.shape[1:] != expected or len(X) == 0:
        raise ValueError(f"train_model: X_{part} has shape {X.shape}, the model takes rows of shape {expected}")
    if np.shape(y) != (len(X),):
        raise ValueError(f"train_model: y_{part} has shape {np.shape(y)}, but X_{part} has {len(X)} rows")
    bad = int((~np.isfinite(X)).sum())
    if bad:
        raise ValueError(f"train_model: X_{part} has {bad} missing or infinite values; impute (preprocess_data) first")
    y = schema.check_binary(y, name=f"train_model: y_{part}")
    return tf.constant(X), tf.constant(y[:, None], dtype=X.dtype)
