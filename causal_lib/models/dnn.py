"""Deep neural networks (article 3.1.1, 4.3.4, 5.2, 5.3.2, 5.3.3, Q2) in TensorFlow.

The article's `build_model` and `train_model`, made to work. The article's loop feeds all rows in
one step, never names ``num_epochs`` and prints every epoch. Here training uses mini-batches and
early stopping on the validation loss, and prints a line every 10 epochs. Further networks take
embeddings of users and items, sequences of past events, and images; `train_model` trains them all.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from causal_lib.checks import check_binary, check_number
from causal_lib.models.training import train_epochs


def build_model(input_shape: tuple[int, ...], *, dtype: str = "float32", seed: int = 0):
    """The article's network (5.2): Dense 128 relu, Dense 64 relu, Flatten, Dense 1 sigmoid.

    Parameters
    ----------
    input_shape : of one row, ``X_train.shape[1:]``.
    dtype : ``"float32"``, or ``"float64"`` where printed digits must agree between processors.
    seed : of the Glorot-uniform initial weights.

    Returns a `keras.Model`. Raises ValueError for an empty shape and an unknown ``dtype``.

    >>> build_model((20,)).count_params() == 20 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    True
    """
    _check_positive(
        "build_model", "give the shape of one row, X_train.shape[1:]", input_shape=input_shape
    )
    layers = tf.keras.layers
    dense = _dense(seed, dtype, "build_model")
    inputs = layers.Input(shape=input_shape, dtype=dtype)
    hidden = dense(128, "relu")(inputs)
    hidden = layers.Flatten(dtype=dtype)(dense(64, "relu")(hidden))
    return tf.keras.Model(inputs=inputs, outputs=dense(1, "sigmoid")(hidden))


def build_embedding_model(
    n_users: int,
    n_items: int,
    n_features: int,
    *,
    dim: int = 16,
    l2: float = 1e-4,
    dtype: str = "float32",
    seed: int = 0,
):
    """The dense network on embeddings: p = network(e_u, e_i, e_u * e_i, features).

    The `keras.Model` takes a mapping: ``"user"`` and ``"item"``, (n,) codes from 0 to ``n_users``
    and ``n_items``, and ``"features"`` (n, n_features). Code 0 stands for a user or item that was
    not in the training data. Its embedding starts and stays at 0, to which the penalty pulls the
    others: an unknown user is an average one.

    Parameters
    ----------
    dim : length of an embedding.
    l2 : the penalty, ``l2`` times the squared length of the embeddings, is added to the loss.

    Raises ValueError for sizes below 1 and an unknown ``dtype``. Source: He and others 2017.

    >>> dense = 14 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    >>> build_embedding_model(3, 5, 2, dim=4).count_params() == 4 * 4 + 6 * 4 + dense
    True
    """
    sizes = {"n_users": n_users, "n_items": n_items, "n_features": n_features, "dim": dim}
    _check_positive("build_embedding_model", "give 1 or more", **sizes)
    check_number(l2, name="build_embedding_model: l2")
    layers = tf.keras.layers
    dense = _dense(seed, dtype, "build_embedding_model")
    inputs = {
        "user": layers.Input(shape=(), dtype="int32", name="user"),
        "item": layers.Input(shape=(), dtype="int32", name="item"),
        "features": layers.Input(shape=(n_features,), dtype=dtype, name="features"),
    }
    penalty = tf.keras.regularizers.L2(l2)
    vectors = []
    for number, (name, size) in enumerate((("user", n_users), ("item", n_items))):
        table = 0.1 * np.random.default_rng([seed, number]).standard_normal((size + 1, dim))
        table[0] = 0
        embedding = layers.Embedding(
            size + 1,
            dim,
            embeddings_initializer=tf.keras.initializers.Constant(table),
            embeddings_regularizer=penalty,
            name=f"{name}_embedding",
            dtype=dtype,
        )
        vectors.append(embedding(inputs[name]))
    product = layers.Multiply(dtype=dtype)(vectors)
    joined = layers.Concatenate(dtype=dtype)([*vectors, product, inputs["features"]])
    hidden = dense(128, "relu")(joined)
    hidden = dense(64, "relu")(hidden)
    return tf.keras.Model(inputs=inputs, outputs=dense(1, "sigmoid")(hidden))


def build_sequence_model(
    length: int,
    n_channels: int,
    n_features: int,
    *,
    filters: int = 32,
    width: int = 3,
    dtype: str = "float32",
    seed: int = 0,
):
    """A convolutional network over a user's past events, beside features of the row.

    The `keras.Model` takes a mapping: ``"history"`` (n, length, n_channels), as of
    `features.sequences`, and ``"features"`` (n, n_features). Two convolutions of ``width`` steps
    with ``filters`` each are followed by the maximum and the mean over the steps and the article's
    dense layers. The network knows no ids: a user is described by past events alone.

    Raises ValueError for sizes below 1 and an unknown ``dtype``. Source: Tang and Wang 2018.

    >>> build_sequence_model(10, 4, 7).output_shape
    (None, 1)
    """
    sizes = {
        "length": length,
        "n_channels": n_channels,
        "n_features": n_features,
        "filters": filters,
        "width": width,
    }
    _check_positive("build_sequence_model", "give 1 or more", **sizes)
    layers = tf.keras.layers
    dense = _dense(seed, dtype, "build_sequence_model")
    inputs = {
        "history": layers.Input(shape=(length, n_channels), dtype=dtype, name="history"),
        "features": layers.Input(shape=(n_features,), dtype=dtype, name="features"),
    }
    steps = inputs["history"]
    for number in range(2):
        start = tf.keras.initializers.GlorotUniform(seed=1000 * seed + number)
        convolve = layers.Conv1D(
            filters, width, padding="same", activation="relu", kernel_initializer=start, dtype=dtype
        )
        steps = convolve(steps)
    pooled = [
        layers.GlobalMaxPooling1D(dtype=dtype)(steps),
        layers.GlobalAveragePooling1D(dtype=dtype)(steps),
    ]
    hidden = dense(128, "relu")(layers.Concatenate(dtype=dtype)([*pooled, inputs["features"]]))
    hidden = dense(64, "relu")(hidden)
    return tf.keras.Model(inputs=inputs, outputs=dense(1, "sigmoid")(hidden))


def build_image_model(
    input_shape: tuple[int, int, int],
    *,
    n_outputs: int = 1,
    filters: int = 8,
    dim: int = 16,
    dtype: str = "float32",
    seed: int = 0,
):
    """A small convolutional network over images, as a `keras.Model`.

    Two convolutions of 3 x 3, the second with twice the ``filters``, are each followed by the
    maximum of 2 x 2. Then comes a layer named ``"embedding"`` of ``dim`` numbers, which `embed`
    reads; it is linear, since a relu could be 0 for all images. The outputs are ``n_outputs``
    independent probabilities.

    Parameters
    ----------
    input_shape : height and width, 4 pixels or more, and channels.

    Raises ValueError for other shapes, sizes below 1 and an unknown ``dtype``. Source: LeCun and
    others 1998.

    >>> build_image_model((12, 12, 1), n_outputs=10).output_shape
    (None, 10)
    """
    sizes = {
        "n_outputs": n_outputs,
        "filters": filters,
        "dim": dim,
        "input_shape": tuple(input_shape),
    }
    _check_positive("build_image_model", "give 1 or more", **sizes)
    if len(input_shape) != 3 or min(input_shape[:2]) < 4:
        raise ValueError(
            f"build_image_model: input_shape={input_shape}; give height and width of 4 or more, "
            "and channels"
        )
    layers = tf.keras.layers
    dense = _dense(seed, dtype, "build_image_model")
    inputs = layers.Input(shape=input_shape, dtype=dtype)
    seen = inputs
    for number in range(2):
        start = tf.keras.initializers.GlorotUniform(seed=1000 * seed + number)
        convolve = layers.Conv2D(
            filters << number,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=start,
            dtype=dtype,
        )
        seen = layers.MaxPooling2D(dtype=dtype)(convolve(seen))
    hidden = dense(dim, "linear", name="embedding")(layers.Flatten(dtype=dtype)(seen))
    return tf.keras.Model(inputs=inputs, outputs=dense(n_outputs, "sigmoid")(hidden))


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
    """Train ``model`` in place; the history has a row for each epoch: epoch, loss, val_loss.

    Adam with an own gradient step (`GradientTape`) on the binary cross-entropy plus the penalties
    of the layers. Training stops when ``val_loss`` has not fallen for ``patience`` epochs; the
    weights of the best epoch are restored in any case. Every 10 epochs a line is printed. ``loss``
    is the mean cross-entropy over the mini-batches of the epoch, ``val_loss`` that of all
    validation rows after it.

    Parameters
    ----------
    X_train, X_val : arrays, or mappings of arrays where the model has named inputs.
    y_train, y_val : (n,) zeros and ones; (n, k) for a model with k outputs, where the loss is the
        mean over the outputs.
    seed : of the order of the rows. The same seed gives the same weights on the same machine with
        the same number of threads.

    Raises ValueError for inputs that do not fit the model, missing values, labels without both 0
    and 1, numbers that are not positive, and a loss that is not finite.
    """
    dtype = model.outputs[0].dtype
    X_train, y_train = _tensors(X_train, y_train, model, "train")
    X_val, y_val = _tensors(X_val, y_val, model, "val")
    if min(epochs, batch_size, patience) < 1 or not learning_rate > 0:
        raise ValueError(
            "train_model: epochs, batch_size, patience and learning_rate must be positive"
        )
    loss_fn = tf.keras.losses.BinaryCrossentropy(reduction="sum", dtype=dtype)
    weights = model.trainable_variables
    optimizer = tf.keras.optimizers.Adam(learning_rate=learning_rate)
    optimizer.build(weights)
    n = len(y_train)
    n_val = len(y_val)

    # one graph for a whole epoch: a step of a small network costs less than a call from Python
    @tf.function
    def train_epoch(order):
        total = tf.zeros((), dtype)
        for start in tf.range(0, n, batch_size):
            rows = order[start : start + batch_size]
            X, y = _rows((X_train, y_train), rows)
            with tf.GradientTape() as tape:
                batch_loss = loss_fn(y, model(X, training=True))
                loss = batch_loss / tf.cast(tf.size(rows), dtype) + sum(model.losses)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            total += batch_loss
        return total / n

    @tf.function
    def validate():
        total = tf.zeros((), dtype)
        for start in tf.range(0, n_val, batch_size):
            X, y = _rows((X_val, y_val), slice(start, start + batch_size))
            total += loss_fn(y, model(X, training=False))
        return total / n_val

    # traced once, here: otherwise several short trainings look like retracing, with a warning
    train_epoch = train_epoch.get_concrete_function(tf.TensorSpec([n], tf.int64))
    validate = validate.get_concrete_function()
    rng = np.random.default_rng(seed)
    history = train_epochs(
        lambda: float(train_epoch(tf.constant(rng.permutation(n)))),
        lambda: float(validate()),
        model.get_weights,
        model.set_weights,
        epochs=epochs,
        patience=patience,
        verbose=verbose,
    )
    return history.rename(columns={"validation": "val_loss"})


def predict(model, X, *, batch_size: int = 8192) -> np.ndarray:
    """(n,) predicted probabilities, (n, k) for k outputs; ``X`` is as in `train_model`."""
    X, n = _inputs(X, model, "predict: X")
    # model.predict would compile a function for every model, and warn from the fifth on
    parts = [
        model(_rows(X, slice(start, start + batch_size)), training=False)
        for start in range(0, n, batch_size)
    ]
    probabilities = np.concatenate(parts).astype(float)
    return probabilities[:, 0] if probabilities.shape[1:] == (1,) else probabilities


def embed(model, X, *, layer: str = "embedding", batch_size: int = 8192) -> np.ndarray:
    """(n, dim) values of the ``layer`` of that name for the rows of ``X``, as in `predict`.

    Raises ValueError where no layer of ``model`` has the name.
    """
    if layer not in (names := [one.name for one in model.layers]):
        raise ValueError(f"embed: the model has no layer {layer!r}; its layers: {', '.join(names)}")
    shortened = tf.keras.Model(inputs=model.input, outputs=model.get_layer(layer).output)
    found = predict(shortened, X, batch_size=batch_size)
    return found.reshape(len(found), -1)


def _rows(tensors, rows):
    """``rows``, a slice or a tensor of numbers, of every tensor."""
    return tf.nest.map_structure(
        lambda t: t[rows] if isinstance(rows, slice) else tf.gather(t, rows), tensors
    )


def _dense(seed, dtype, name):
    """Makes dense layers, each with a seed of its own."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{name}: dtype={dtype!r} is unknown; choose 'float32' or 'float64'")
    numbers = iter(range(3 * seed, 3 * seed + 3))

    def dense(units, activation, name=None):
        start = tf.keras.initializers.GlorotUniform(seed=next(numbers))
        return tf.keras.layers.Dense(
            units, activation=activation, kernel_initializer=start, dtype=dtype, name=name
        )

    return dense


def _check_positive(name, way_out, **sizes):
    for argument, value in sizes.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if len(numbers) == 0 or any(not isinstance(n, int | np.integer) or n < 1 for n in numbers):
            raise ValueError(f"{name}: {argument}={value!r}; {way_out}")


def _tensors(X, y, model, part):
    X, n = _inputs(X, model, f"train_model: X_{part}")
    y = np.asarray(y)
    outputs = model.outputs[0].shape[-1]
    if (y.shape != (n,) and y.shape != (n, outputs)) or (y.ndim == 1 and outputs > 1):
        has = f" and the model {outputs} outputs" if outputs > 1 else ""
        raise ValueError(
            f"train_model: y_{part} has shape {y.shape}, but X_{part} has {n} rows{has}"
        )
    labels = check_binary(y.ravel(), name=f"train_model: y_{part}").reshape(n, outputs)
    return X, tf.constant(labels, dtype=model.outputs[0].dtype)


def _inputs(X, model, name):
    """The tensors that ``model`` takes, as an array or a mapping of its named inputs, and n."""
    wanted = {given.name: given for given in model.inputs}
    takes_mapping = isinstance(model.input, Mapping)
    is_mapping = isinstance(X, Mapping)
    if is_mapping != takes_mapping or (is_mapping and set(X) != set(wanted)):
        found = f"a mapping of {', '.join(X)}" if is_mapping and X else "an array"
        takes = f"a mapping of {', '.join(wanted)}" if takes_mapping else "an array"
        raise ValueError(f"{name} is {found}; the model takes {takes}")
    tensors = {}
    sizes = set()
    for key, given in wanted.items():
        values = np.asarray(X[key] if is_mapping else X)
        where = f"{name}[{key!r}]" if is_mapping else name
        if values.shape[1:] != given.shape[1:] or values.ndim == 0 or len(values) == 0:
            raise ValueError(
                f"{where} has shape {values.shape}, the model takes rows of shape {given.shape[1:]}"
            )
        values = values.astype(given.dtype)
        if bad := int((~np.isfinite(values)).sum()):
            raise ValueError(
                f"{where} has {bad} missing or infinite values; impute (preprocess_data) first"
            )
        if given.dtype == "int32":
            _check_codes(values, model.get_layer(f"{key}_embedding").input_dim, where)
        tensors[key] = tf.constant(values)
        sizes.add(len(values))
    if len(sizes) > 1:
        raise ValueError(f"{name}: the inputs have {sorted(sizes)} rows; they must agree")
    (n,) = sizes
    if is_mapping:
        return tensors, n
    (tensor,) = tensors.values()
    return tensor, n


def _check_codes(codes, size, name):
    if bad := int(((codes < 0) | (codes >= size)).sum()):
        raise ValueError(
            f"{name}: {bad} codes outside 0..{size - 1}; give 0 to what was not there in training"
        )
