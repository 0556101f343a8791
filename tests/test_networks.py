"""The multilayer perceptron: what it computes, how it starts, what tied weights are."""

import pytest
import torch
from torch import nn

from skvae._networks import ACTIVATIONS, MLP

MODULES = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def make(sizes=(5, 7, 4, 3), activation="tanh", tied=None, seed=0, skip=False):
    network = MLP(sizes, activation, tied, skip).double()
    network.initialize(torch.Generator().manual_seed(seed))
    return network


def rows(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_activation_is_in_the_table():
    assert set(ACTIVATIONS) == set(MODULES)


@pytest.mark.parametrize("activation", MODULES)
def test_it_is_what_torchs_layers_compute(activation):
    network = make(activation=activation)
    layers = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        linear.weight.data, linear.bias.data = weight.data, bias.data
        layers += [linear, MODULES[activation]()]
    x = rows(6, 5)
    torch.testing.assert_close(network(x), nn.Sequential(*layers[:-1])(x))


def test_leading_axes_are_kept():
    network, x = make(), rows(2, 3, 6, 5)
    assert network(x).shape == (2, 3, 6, 3)
    torch.testing.assert_close(network(x)[1, 2], network(x[1, 2]))


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 3), (5, 7, 4, 3)])
@pytest.mark.parametrize("skip", [False, True])
def test_the_gradients_are_those_of_autograd(activation, sizes, skip):
    network = make(sizes, activation, skip=skip)
    if network.skip is not None:
        nn.init.normal_(network.skip, generator=torch.Generator().manual_seed(3))
    x, grad = rows(6, 5).requires_grad_(), rows(6, 3, seed=2)
    parameters = list(network.parameters())
    expected = torch.autograd.grad(network(x), [x, *parameters], grad)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    network.bind()
    with torch.no_grad():
        out, backward = network.trace(x.detach())
        got = backward(grad)
    torch.testing.assert_close(out, network(x).detach())
    for one, other in zip([got, *(p.grad for p in parameters)], expected, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_start_as_those_of_torchs_layers_do():
    network = make((400, 300, 200))
    for weight, bias in zip(network.weights, network.biases, strict=True):
        bound = weight.shape[1] ** -0.5
        assert 0.99 * bound < weight.abs().max() <= bound
        assert 0.9 * bound < bias.abs().max() <= bound
        assert abs(weight.mean()) < 0.01 * bound


def test_the_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, same, other = make(seed=0), make(seed=0), make(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    assert not any(map(torch.equal, one.parameters(), other.parameters()))


def test_tied_weights_are_the_transposes():
    encoder = make((5, 7, 3), "identity")
    decoder = make((3, 7, 5), "identity", tied=encoder.weights)
    encoder.initialize(torch.Generator().manual_seed(0))
    forward = torch.stack([encoder(e) - encoder(0 * e) for e in torch.eye(5).double()])
    back = torch.stack([decoder(e) - decoder(0 * e) for e in torch.eye(3).double()])
    torch.testing.assert_close(back, forward.T)
    own = {id(p) for p in decoder.parameters()} - {id(p) for p in encoder.parameters()}
    assert own == {id(bias) for bias in decoder.biases}


def test_an_empty_hidden_part_is_a_linear_map():
    network = make((4, 2), "relu")
    x, y = rows(2, 3, 4)
    torch.testing.assert_close(network(x + y) - network(y), network(x) - network(0 * x))


def test_a_skip_adds_a_linear_map():
    plain, network = make(), make(skip=True)
    linear, x = rows(3, 5, seed=2), rows(2, 6, 5)
    network.skip.data.copy_(linear)
    torch.testing.assert_close(network(x), plain(x) + x @ linear.T)
    assert make((5, 3), skip=True).skip is None


@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 3)])
def test_it_can_start_from_a_linear_map(sizes):
    network, linear, offset, x = make(sizes, skip=True), rows(3, 5), rows(3), rows(6, 5, seed=2)
    network.start_linear(linear, offset)
    torch.testing.assert_close(network(x), x @ linear.T + offset)
