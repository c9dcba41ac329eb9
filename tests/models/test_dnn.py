import subprocess
import sys

import numpy as np
import pytest

from causal_lib import paths
from causal_lib.models.dnn import (
    build_embedding_model,
    build_image_model,
    build_model,
    build_sequence_model,
    embed,
    predict,
    tf,
    train_model,
)


def made(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    y = (rng.random(n) < 1 / (1 + np.exp(1 - 2 * X[:, 0] * X[:, 1]))).astype(int)
    return X, y


def fit(dtype="float64", seed=0, train=2000, **arguments):
    X, y = made()
    model = build_model((4,), dtype=dtype, seed=seed)
    arguments = {"epochs": 5, "seed": seed, "verbose": False} | arguments
    return model, train_model(model, X[:train], y[:train], X[2000:], y[2000:], **arguments)


def log_loss(y, p):
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def test_the_network_is_the_articles():
    model = build_model((20,))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", "Dense", "Dense", "Flatten", "Dense"]
    dense = [layer for layer in model.layers if hasattr(layer, "units")]
    assert [(d.units, d.activation.__name__) for d in dense] == [
        (128, "relu"),
        (64, "relu"),
        (1, "sigmoid"),
    ]
    assert model.output_shape == (None, 1)
    assert {w.dtype for w in model.weights} == {"float32"}
    assert {w.dtype for w in build_model((20,), dtype="float64").weights} == {"float64"}


def test_a_row_may_have_more_than_one_dimension():
    assert build_model((3, 4)).output_shape == (None, 1)
    # Flatten joins 3 x 64
    assert build_model((3, 4)).count_params() == 4 * 128 + 128 + 128 * 64 + 64 + 3 * 64 + 1


def test_the_output_is_the_forward_pass_by_hand():
    model, _ = fit()
    X = made()[0][:50]
    (W1, b1), (W2, b2), (W3, b3) = (
        layer.get_weights() for layer in model.layers if layer.get_weights()
    )
    hidden = np.maximum(np.maximum(X @ W1 + b1, 0) @ W2 + b2, 0)
    np.testing.assert_allclose(
        predict(model, X), 1 / (1 + np.exp(-(hidden @ W3 + b3)[:, 0])), rtol=1e-10
    )
    np.testing.assert_allclose(predict(model, X, batch_size=7), predict(model, X), rtol=1e-12)


def test_one_step_is_adams_first_step():
    X, y = made(64)
    model = build_model((4,), dtype="float64")
    before = [w.numpy() for w in model.trainable_variables]
    with tf.GradientTape() as tape:
        p = model(X)[:, 0]
        loss = -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))
    gradients = [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]
    history = train_model(model, X, y, X, y, epochs=1, verbose=False)  # one batch holds all rows
    assert history["loss"].item() == pytest.approx(float(loss), rel=1e-6)  # Keras cuts p at 1e-7
    for w, w0, g in zip(model.trainable_variables, before, gradients, strict=True):
        # Bias-corrected moments are g and g^2 after one step. Keras adds its epsilon of 1e-7 to the
        # uncorrected root of v = 0.001 g^2, and takes the decay from float32, where 1 - 0.999 is
        # off by 1.3e-5: 6.6e-9 of the step.
        np.testing.assert_allclose(
            w.numpy(), w0 - 0.001 * g / (np.abs(g) + 1e-7 / np.sqrt(0.001)), rtol=0, atol=1e-8
        )


def test_it_learns_and_the_validation_loss_is_right():
    model, history = fit(epochs=40, learning_rate=0.005, batch_size=128)
    X, y = made()
    best = history["val_loss"].min()
    assert log_loss(y[2000:], predict(model, X[2000:])) == pytest.approx(best, rel=1e-6)
    # an interaction that no constant can know
    assert best < log_loss(y[2000:], y[:2000].mean()) - 0.05


def networks():
    """Each kind of network with eight rows for it."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 2))
    return {
        "dense": (build_model((4,), dtype="float64", seed=1), rng.normal(size=(8, 4))),
        "embedding": (
            build_embedding_model(3, 5, 2, dim=2, dtype="float64", seed=1),
            {"user": np.arange(8) % 4, "item": np.arange(8) % 6, "features": features},
        ),
        "sequence": (
            build_sequence_model(4, 3, 2, filters=2, dtype="float64", seed=1),
            {"history": rng.normal(size=(8, 4, 3)), "features": features},
        ),
        "image": (
            build_image_model((4, 5, 2), filters=2, dim=3, dtype="float64", seed=1),
            rng.normal(size=(8, 4, 5, 2)),
        ),
    }


@pytest.mark.parametrize("kind", ["dense", "embedding", "sequence", "image"])
def test_gradients_are_those_of_differences(kind):
    model, X = networks()[kind]
    y = np.arange(8) % 2

    def loss():
        p = model(X)[:, 0]
        return -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p)) + sum(
            model.losses
        )

    rng = np.random.default_rng(1)
    # away from 0, where biases start and a ReLU of zeros has a kink
    for weight in model.trainable_variables:
        weight.assign_add(rng.normal(scale=0.05, size=weight.shape))
    with tf.GradientTape() as tape:
        value = loss()
    for weight, gradient in zip(
        model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True
    ):
        gradient = tf.convert_to_tensor(gradient).numpy()
        old = weight.numpy()
        for place in rng.permutation(old.size)[:25]:
            at = np.unravel_index(place, old.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = old.copy()
                moved[at] += step
                weight.assign(moved)
                ends.append(float(loss()))
            assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)
        weight.assign(old)


def test_embeddings_and_their_product_by_hand():
    model, X = networks()["embedding"]
    users, items = (
        model.get_layer(f"{name}_embedding").get_weights()[0] for name in ("user", "item")
    )
    assert not users[0].any()
    assert not items[0].any()  # who was not there is an average one
    u = users[X["user"]]
    i = items[X["item"]]
    hidden = np.concatenate([u, i, u * i, X["features"]], axis=1)
    for layer in [layer for layer in model.layers if hasattr(layer, "units")]:
        weight, bias = layer.get_weights()
        hidden = hidden @ weight + bias
        hidden = np.maximum(hidden, 0) if layer.units > 1 else 1 / (1 + np.exp(-hidden))
    np.testing.assert_allclose(predict(model, X), hidden[:, 0], rtol=1e-10)
    penalty = 1e-4 * ((users**2).sum() + (items**2).sum())
    assert float(sum(model.losses)) == pytest.approx(penalty, rel=1e-10)


def test_convolutions_by_hand():
    model, X = networks()["sequence"]
    steps = X["history"]
    for layer in model.layers:
        if type(layer).__name__ == "Conv1D":
            kernel, bias = layer.get_weights()
            padded = np.pad(steps, ((0, 0), (1, 1), (0, 0)))
            # (8, 4, 3, channels)
            windows = np.stack([padded[:, t : t + 3] for t in range(4)], axis=1)
            steps = np.maximum(np.einsum("ntwc,wcf->ntf", windows, kernel) + bias, 0)
    hidden = np.concatenate([steps.max(axis=1), steps.mean(axis=1), X["features"]], axis=1)
    for layer in [layer for layer in model.layers if hasattr(layer, "units")]:
        weight, bias = layer.get_weights()
        hidden = hidden @ weight + bias
        hidden = np.maximum(hidden, 0) if layer.units > 1 else 1 / (1 + np.exp(-hidden))
    np.testing.assert_allclose(predict(model, X), hidden[:, 0], rtol=1e-10)


def test_convolutions_over_images_by_hand():
    model, X = networks()["image"]
    seen = X
    for layer in [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]:
        kernel, bias = layer.get_weights()
        padded = np.pad(seen, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = seen.shape[1:3]
        filtered = np.zeros((*seen.shape[:3], len(bias)))
        for y in range(height):
            for x in range(width):
                filtered[:, y, x] = (
                    np.einsum("nabc,abcf->nf", padded[:, y : y + 3, x : x + 3], kernel) + bias
                )
        filtered = np.maximum(filtered, 0)[:, : height // 2 * 2, : width // 2 * 2]
        seen = filtered.reshape(len(X), height // 2, 2, width // 2, 2, -1).max(axis=(2, 4))
    (W1, b1), (W2, b2) = (layer.get_weights() for layer in model.layers if hasattr(layer, "units"))
    hidden = seen.reshape(len(X), -1) @ W1 + b1
    np.testing.assert_allclose(embed(model, X), hidden, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(embed(model, X, batch_size=3), hidden, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        predict(model, X), 1 / (1 + np.exp(-(hidden @ W2 + b2)[:, 0])), rtol=1e-10
    )


def test_an_image_is_known_wherever_it_stands():
    rng = np.random.default_rng(0)
    shapes = np.array([[[1, 1], [0, 0]], [[1, 0], [1, 0]]])
    label = rng.integers(2, size=3000)  # a line, lying or standing
    images = 0.1 * rng.random((3000, 8, 8, 1))
    for image, kind, (top, left) in zip(
        images, label, rng.integers(7, size=(3000, 2)), strict=True
    ):
        image[top : top + 2, left : left + 2, 0] += shapes[kind]
    model = build_image_model((8, 8, 1), dim=4, dtype="float64")
    how = {"epochs": 15, "batch_size": 64, "learning_rate": 0.01, "verbose": False}
    train_model(model, images[:2000], label[:2000], images[2000:], label[2000:], **how)
    assert ((predict(model, images[2000:]) > 0.5) == label[2000:]).mean() > 0.98


def test_several_labels_are_trained_together():
    """Labels of a row: the loss is the mean of the labels' own; each is learnt; a column of one
    label is that label.
    """
    X, y = made()
    both = np.column_stack([y, X[:, 2] > 0])
    inputs = tf.keras.layers.Input(shape=(4,), dtype="float64")
    start = tf.keras.initializers.GlorotUniform(seed=0)
    hidden = tf.keras.layers.Dense(
        32, activation="relu", kernel_initializer=start, dtype="float64"
    )(inputs)
    outputs = tf.keras.layers.Dense(
        2, activation="sigmoid", kernel_initializer=start, dtype="float64"
    )(hidden)
    model = tf.keras.Model(inputs, outputs)
    how = {"epochs": 30, "batch_size": 128, "learning_rate": 0.01, "verbose": False}
    history = train_model(model, X[:2000], both[:2000], X[2000:], both[2000:], **how)
    p = np.clip(predict(model, X[2000:]), 1e-7, 1 - 1e-7)  # as Keras cuts it
    assert p.shape == (1000, 2)
    losses = [log_loss(both[2000:, k], p[:, k]) for k in (0, 1)]
    assert np.mean(losses) == pytest.approx(history["val_loss"].min(), rel=1e-6)
    assert losses[1] < 0.15
    assert losses[0] < log_loss(y[2000:], y[:2000].mean()) - 0.05
    first, second = (build_model((4,), dtype="float64") for _ in range(2))
    how = {"epochs": 2, "verbose": False}
    alone = train_model(first, X[:2000], y[:2000], X[2000:], y[2000:], **how)
    assert alone.equals(
        train_model(second, X[:2000], y[:2000, None], X[2000:], y[2000:, None], **how)
    )


def test_embeddings_learn_a_match_that_features_do_not_tell():
    rng = np.random.default_rng(0)
    user = rng.integers(1, 41, size=6000)
    item = rng.integers(1, 31, size=6000)
    taste = np.sign(rng.normal(size=(41, 2))) @ np.sign(rng.normal(size=(2, 31)))
    y = (rng.random(6000) < 1 / (1 + np.exp(-1.5 * taste[user, item]))).astype(int)
    X = {"user": user, "item": item, "features": rng.normal(size=(6000, 1))}
    parts = [
        {name: values[rows] for name, values in X.items()}
        for rows in (slice(4500), slice(4500, None))
    ]
    model = build_embedding_model(40, 30, 1, dim=4, dtype="float64")
    how = {"epochs": 40, "batch_size": 256, "learning_rate": 0.01, "verbose": False}
    history = train_model(model, parts[0], y[:4500], parts[1], y[4500:], **how)
    best = log_loss(y[4500:], 1 / (1 + np.exp(-1.5 * taste[user, item][4500:])))
    assert history["val_loss"].min() < best + 0.05
    assert log_loss(y[4500:], predict(model, parts[1])) == pytest.approx(
        history["val_loss"].min(), rel=1e-6
    )


def test_convolutions_learn_what_came_twice_in_a_row():
    rng = np.random.default_rng(0)
    history = (rng.random((4000, 8, 1)) < 0.35).astype(float)
    twice = (history[:, 1:, 0] * history[:, :-1, 0]).max(axis=1).astype(int)
    X = {"history": history, "features": np.ones((4000, 1))}
    parts = [
        {name: values[rows] for name, values in X.items()}
        for rows in (slice(3000), slice(3000, None))
    ]
    model = build_sequence_model(8, 1, 1, filters=8, dtype="float64")
    how = {"epochs": 40, "batch_size": 128, "learning_rate": 0.005, "verbose": False}
    train_model(model, parts[0], twice[:3000], parts[1], twice[3000:], **how)
    assert ((predict(model, parts[1]) > 0.5) == twice[3000:]).mean() > 0.98


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": [4] * 8}, r"X\['user'\]: 8 codes outside 0..3; give 0 to what was not there"),
        ({"features": np.full((8, 2), np.nan)}, r"X\['features'\] has 16 missing or infinite"),
        ({"features": np.zeros((7, 2))}, r"the inputs have \[7, 8\] rows"),
        ({"item": np.zeros((8, 2))}, r"X\['item'\] has shape \(8, 2\)"),
        (
            {"more": np.zeros(8)},
            "X is a mapping of user, item, features, more; the model takes a mapping of",
        ),
    ],
)
def test_bad_mappings_are_refused(change, message):
    model, X = networks()["embedding"]
    with pytest.raises(ValueError, match=message):
        predict(model, X | change)
    with pytest.raises(
        ValueError, match="X is an array; the model takes a mapping of features, item, user"
    ):
        predict(model, np.zeros((8, 2)))


def test_the_last_batch_may_be_smaller_and_every_row_counts_once():
    model = build_model((4,), dtype="float64")
    X, y = made(1000)
    before = log_loss(y, predict(model, X))
    # at a learning rate of nothing the epoch's loss is that of the initial weights, whatever the
    # batches
    history = train_model(
        model, X, y, X, y, epochs=1, batch_size=300, learning_rate=1e-15, verbose=False
    )
    assert history["loss"].item() == pytest.approx(before, rel=1e-6)
    assert history["val_loss"].item() == pytest.approx(before, rel=1e-6)


def test_early_stopping_restores_the_best_weights():
    # overfits soon
    model, history = fit(train=100, epochs=200, learning_rate=0.01, batch_size=32, patience=3)
    best = history["val_loss"].idxmin()
    assert len(history) == best + 1 + 3 < 200
    assert history["val_loss"].iloc[-1] > history["val_loss"][best]
    X, y = made()
    assert log_loss(y[2000:], predict(model, X[2000:])) == pytest.approx(
        history["val_loss"][best], rel=1e-6
    )


def test_the_same_seed_gives_the_same_weights():
    (a, first), (b, second), (c, third) = fit(), fit(), fit(seed=1)
    assert first.equals(second)
    assert all(np.array_equal(v, w) for v, w in zip(a.get_weights(), b.get_weights(), strict=True))
    assert not first.equals(third)
    assert not np.array_equal(a.get_weights()[0], c.get_weights()[0])


def test_seeds_are_local():
    np.random.seed(0)  # noqa: NPY002
    tf.random.set_seed(0)
    expected = np.random.random(), float(tf.random.uniform(()))  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    tf.random.set_seed(0)
    fit(epochs=1)
    assert (np.random.random(), float(tf.random.uniform(()))) == expected  # noqa: NPY002


def test_a_line_every_ten_epochs(capsys):
    _, history = fit(epochs=25, patience=25, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    rows = history.set_index("epoch")
    expected = [
        f"Epoch {e}, Loss: {rows.loc[e, 'loss']:.4f}, Val Loss: {rows.loc[e, 'val_loss']:.4f}"
        for e in (10, 20)
    ]
    assert lines[:2] == expected
    assert len(lines) == 3
    assert lines[2].startswith("Best epoch ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"X_train": np.zeros((8, 3))},
            r"X_train has shape \(8, 3\), the model takes rows of shape \(4,\)",
        ),
        ({"X_val": np.zeros((0, 4)), "y_val": []}, "X_val has shape"),
        ({"y_train": np.zeros(7)}, r"y_train has shape \(7,\), but X_train has 8 rows"),
        ({"y_val": np.full(8, 2)}, "y_val: must be 0 or 1 in every row; found 1 levels \\(2\\)"),
        ({"X_train": np.full((8, 4), np.nan)}, "X_train has 32 missing or infinite"),
        ({"X_val": np.full((8, 4), np.inf)}, "X_val has 32 missing or infinite"),
        ({"epochs": 0}, "must be positive"),
        ({"learning_rate": -1}, "must be positive"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"X_train": np.ones((8, 4)), "y_train": np.arange(8) % 2}
    good |= {"X_val": good["X_train"], "y_val": good["y_train"]}
    with pytest.raises(ValueError, match=message):
        train_model(build_model((4,)), **(good | change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": ()}, "give the shape of one row"),
        ({"input_shape": (0,)}, "give the shape of one row"),
        ({"input_shape": (None, 3)}, "give the shape of one row"),
        ({"input_shape": (3,), "dtype": "int8"}, "dtype='int8' is unknown"),
    ],
)
def test_bad_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(**arguments)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="build_embedding_model: n_items=0; give 1 or more"):
        build_embedding_model(3, 0, 1)
    with pytest.raises(ValueError, match="build_sequence_model: width=0; give 1 or more"):
        build_sequence_model(3, 1, 1, width=0)
    with pytest.raises(ValueError, match="build_image_model: n_outputs=0; give 1 or more"):
        build_image_model((8, 8, 1), n_outputs=0)
    for shape in ((8, 8), (3, 8, 1)):
        with pytest.raises(
            ValueError,
            match=r"build_image_model: input_shape=.*; give height and width of 4 or more",
        ):
            build_image_model(shape)


def test_labels_that_do_not_fit_the_outputs_are_refused():
    model = build_image_model((4, 4, 1), n_outputs=3)
    X = np.ones((6, 4, 4, 1))
    y = np.eye(3)[[0, 1, 2] * 2]
    for wrong in (y[:, :2], y[:, 0], y[:5]):
        with pytest.raises(
            ValueError,
            match=r"y_train has shape .*, but X_train has 6 rows and the model 3 outputs",
        ):
            train_model(model, X, wrong, X, y)
    with pytest.raises(
        ValueError, match=r"embed: the model has no layer 'absent'; its layers: .*embedding"
    ):
        embed(model, X, layer="absent")


def test_without_tensorflow_the_import_says_so():
    hidden = "import sys; sys.modules['tensorflow'] = None; import causal_lib.models.dnn"
    done = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, cwd=paths.ROOT, check=False
    )
    assert done.returncode == 1
    assert "import of tensorflow halted" in done.stderr


def test_the_penalty_moves_the_weights_and_is_no_part_of_the_loss_told():
    """A penalty so large that its gradient alone decides: Adam's first step takes each number of an
    embedding towards 0.
    """
    model = build_embedding_model(3, 5, 2, dim=2, l2=1e3, dtype="float64", seed=2)
    X = networks()["embedding"][1]
    y = np.arange(8) % 2
    before = {
        name: model.get_layer(f"{name}_embedding").get_weights()[0] for name in ("user", "item")
    }
    told = log_loss(y, predict(model, X))
    history = train_model(model, X, y, X, y, epochs=1, learning_rate=1e-4, verbose=False)
    assert history["loss"].item() == pytest.approx(told, rel=1e-6)
    assert history["val_loss"].item() == pytest.approx(log_loss(y, predict(model, X)), rel=1e-6)
    for name, old in before.items():
        moved = model.get_layer(f"{name}_embedding").get_weights()[0] - old
        np.testing.assert_allclose(moved[1:], -1e-4 * np.sign(old[1:]), rtol=1e-3)


def test_initial_weights_differ_by_layer_and_follow_the_seed():
    tables = [build_embedding_model(3, 5, 2, dim=2, seed=seed) for seed in (0, 0, 1)]
    users = [model.get_layer("user_embedding").get_weights()[0] for model in tables]
    np.testing.assert_array_equal(users[0], users[1])
    expected = 0.1 * np.random.default_rng([0, 0]).standard_normal((4, 2))
    np.testing.assert_allclose(users[0][1:], expected[1:], rtol=1e-6)
    item = 0.1 * np.random.default_rng([1, 1]).standard_normal((6, 2))
    np.testing.assert_allclose(
        tables[2].get_layer("item_embedding").get_weights()[0][1:], item[1:], rtol=1e-6
    )
    for build in (
        lambda seed: build_sequence_model(4, 3, 2, filters=3, seed=seed),
        lambda seed: build_image_model((4, 4, 1), filters=2, dim=3, seed=seed),
        lambda seed: build_model((64,), seed=seed),
    ):
        one, same, other = ([w for w in build(seed).get_weights() if w.any()] for seed in (0, 0, 1))
        assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    first, second = (
        w for w in build_sequence_model(4, 3, 2, filters=3).get_weights() if w.ndim == 3
    )
    assert first.shape == second.shape == (3, 3, 3)
    assert not np.array_equal(first, second)
