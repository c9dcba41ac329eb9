"""Restated gradients beside arithmetic by hand."""

import numpy as np
import pytest

from causal_lib.experiments.errata import gradients


def test_one_neuron_by_hand():
    # a = sigmoid(2 * 0.5 - 1) = 0.5, label 1: dJ/dz = a - y = -0.5, dJ/dw = -0.5 * x = -1
    parameters = [np.array([[0.5]]), np.array([-1.0])]
    outputs = gradients.forward(np.array([[2.0]]), parameters)
    assert outputs[-1].item() == 0.5
    weight, bias = gradients.backward(np.array([[1.0]]), outputs, parameters)
    assert (weight.item(), bias.item()) == (-1.0, -0.5)
    assert gradients.loss(np.array([[1.0]]), outputs[-1]) == pytest.approx(np.log(2))


def test_a_graph_network_whose_nodes_do_not_meet_is_a_dense_network():
    rng = np.random.default_rng(1)
    parameters = [rng.normal(size=shape) for shape in ((3, 2), (2,), (2, 1), (1,))]
    x = rng.normal(size=(5, 3))
    y = rng.integers(2, size=(5, 1)).astype(float)
    outputs = gradients.forward(x, parameters)
    alone = np.eye(5)
    for one, other in zip(
        gradients.backward(y, outputs, parameters),
        gradients.backward(y, gradients.forward(x, parameters, alone), parameters, alone),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-15)


def test_differences_are_those_of_a_known_function():
    found = gradients.differences(
        lambda arrays: (arrays[0] ** 2).sum() + 3 * arrays[1].item(),
        [np.array([1.0, -2.0]), np.array([[5.0]])],
    )
    assert found[0] == pytest.approx([2, -4], abs=1e-9)
    assert found[1] == pytest.approx(3, abs=1e-9)


def test_errors_are_relative_to_the_largest_entry():
    assert gradients.errors([np.array([1.0, 2.0])], [np.array([1.0, 4.0])]) == [0.5]


def test_the_squared_error_keeps_the_derivative_of_the_output_and_the_entropy_does_not():
    found = gradients.brackets()
    assert found["output derivatives"] == [True, True]
    assert found["least with brackets"] == pytest.approx(0.3)
    assert not found["least without"]
    assert found["limit without"] == "-oo"


def test_the_printed_product_with_both_repairs_is_the_gradient_and_has_a_shape_only_in_a_square():
    networks, _ = gradients.dense(np.random.default_rng(2))
    assert not gradients.has_shape(networks["widths"])
    assert gradients.has_shape(networks["square"])
    _, y, parameters, outputs = networks["widths"]
    repaired = gradients.printed_product(y, outputs, parameters, surplus=False, weights=True)
    for one, other in zip(repaired, gradients.backward(y, outputs, parameters)[::2], strict=True):
        assert one == pytest.approx(other, abs=1e-15)
