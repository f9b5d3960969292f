"""Containers, registration and freezing, without PyTorch."""

import copy
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxport import fit, nn
from jaxport.interop import load_state_dict, state_dict
from jaxport.viz import summary

L = nn.Linear


def linear(size: int = 2) -> nn.Linear:
    return L(size, size, rngs=size)


class TestModuleList:
    def test_list_operations_keep_numbers_and_order(self):
        layers = [linear(), nn.ReLU(), linear(3)]
        holder = nn.ModuleList(layers[:2])
        holder.append(layers[2]).insert(0, nn.Sigmoid())
        assert [type(m).__name__ for m in holder] == ["Sigmoid", "Linear", "ReLU", "Linear"]
        assert holder.pop(1) is layers[0]
        holder[0] = layers[0]
        assert list(state_dict(holder)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        del holder[:1]
        assert list(state_dict(holder)) == ["1.weight", "1.bias"]
        assert holder[-1] is layers[2]
        assert layers[2] in holder
        assert len(holder.__add__([nn.ReLU()])) == 3
        holder += [nn.ReLU()]
        assert isinstance(holder[1:], nn.ModuleList)
        assert len(holder[1:]) == 2

    def test_the_same_module_twice_is_listed_twice_and_counted_once(self):
        shared = linear()
        holder = nn.ModuleList([shared, shared])
        assert len(holder) == 2
        assert list(holder) == [shared, shared]
        assert len(list(holder.parameters())) == 2

    @pytest.mark.parametrize(
        ("act", "error", "match"),
        [
            (lambda: nn.ModuleList([3]), TypeError, "module 0 must be a jaxport.nn.Module, got int"),
            (lambda: nn.ModuleList(3), TypeError, "modules must be an iterable of modules, got int"),
            (lambda: nn.ModuleList([linear()])[1], IndexError, r"index must lie in \[-1, 0\], got 1"),
            (lambda: nn.ModuleList().insert(2, linear()), IndexError, r"index must lie in \[0, 0\], got 2"),
            (lambda: nn.ModuleList([linear()])(1), NotImplementedError, 'has no "forward"'),
            (lambda: nn.Sequential(linear()) * 0, ValueError, "positive integer only, got 0"),
            (lambda: nn.Sequential(linear()) * 1.5, TypeError, "by an integer only, got 1.5"),
            (lambda: nn.ModuleDict({"keys": linear()}), KeyError, "is an attribute of ModuleDict already"),
            (lambda: nn.ModuleDict({"a.b": linear()}), KeyError, "without dots"),
            (lambda: nn.ModuleDict({"a": 3}), TypeError, "module 'a' must be a jaxport.nn.Module, got int"),
            (lambda: nn.ModuleDict({"a": linear()})["b"], KeyError, "no module 'b'; there are a"),
            (lambda: nn.ModuleDict(3), TypeError, "modules must be a mapping or pairs, got int"),
            (lambda: nn.ModuleDict(["abc"]), ValueError, "pairs of key and module"),
            (lambda: nn.ParameterList(jnp.ones(3)), TypeError, "must be an iterable of arrays"),
            (lambda: nn.ParameterList([jnp.ones(3, jnp.int32)]), TypeError, "must have a floating dtype, got int32"),
            (lambda: nn.ParameterList([jnp.ones(3)])[1], IndexError, r"index must lie in \[-1, 0\], got 1"),
            (lambda: nn.ParameterDict({"a": jnp.ones(3)})["b"], KeyError, "no parameter 'b'; there are a"),
            (lambda: nn.ParameterDict({"values": jnp.ones(3)}), KeyError, "is an attribute of ParameterDict already"),
            (lambda: linear().register_parameter("p", 3), TypeError, "param 'p' must be a jaxport.nn.Parameter"),
            (lambda: linear().register_buffer("forward", 3), KeyError, "is an attribute of Linear already"),
            (lambda: linear().get_submodule("x"), AttributeError, "Linear has no module 'x'"),
            (lambda: linear().get_parameter("x"), AttributeError, "Linear has no parameter 'x'"),
            (lambda: linear().get_buffer("x"), AttributeError, "Linear has no buffer 'x'"),
            (lambda: linear().requires_grad_(1), ValueError, "requires_grad must be True or False, got 1"),
            (lambda: nn.Parameter(jnp.ones(2), requires_grad=0), ValueError, "must be True or False, got 0"),
        ],
    )
    def test_errors(self, act, error, match):
        with pytest.raises(error, match=match):
            act()


def test_module_dict():
    holder = nn.ModuleDict({"b": linear(), "a": nn.ReLU()})
    holder.update([("c", linear(3))])
    assert list(holder) == ["b", "a", "c"]
    assert list(holder.keys()) == list(holder)
    assert "a" in holder
    assert isinstance(holder.pop("a"), nn.ReLU)
    assert list(state_dict(holder)) == ["b.weight", "b.bias", "c.weight", "c.bias"]
    merged = nnx.merge(*nnx.split(holder))
    assert repr(merged) == repr(holder)
    holder.clear()
    assert len(holder) == 0
    assert list(holder.values()) == []


def test_parameter_containers():
    values = nn.ParameterList([jnp.ones((2, 3)), "kept", nn.Parameter(jnp.zeros(4))])
    values += [np.zeros(2, np.float32)]
    assert [type(v).__name__ for v in values] == ["Parameter", "str", "Parameter", "Parameter"]
    assert list(state_dict(values)) == ["0", "2", "3"]
    assert values.pop(0).shape == (2, 3)
    assert list(state_dict(values)) == ["1", "2"]
    assert len(values[1:]) == 2
    table = nn.ParameterDict({"w": jnp.ones(2), "b": jnp.zeros(1)})
    table |= {"c": jnp.ones(3)}
    assert list(state_dict(table)) == ["w", "b", "c"]
    assert table.popitem()[0] == "c"
    assert list(reversed(table)) == ["b", "w"]
    assert table.get("x", 3) == 3
    assert list((table | {"d": jnp.ones(1)}).keys()) == ["w", "b", "d"]
    assert "containing: [float32 of size 2]" in repr(table)
    assert table.setdefault("e", jnp.ones(5)).shape == (5,)
    assert nn.ParameterDict().fromkeys("ab", jnp.ones(1))["b"].shape == (1,)


def test_sequential_times_shares():
    net = nn.Sequential(linear(), nn.ReLU()) * 2
    assert net[0] is net[2]
    net *= 2
    assert len(net) == 8
    assert len(list(net.parameters())) == 2
    assert len(copy.deepcopy(net)) == 8


def test_registration_and_lookup():
    class Net(nn.Module):
        def __init__(self):
            self.register_buffer("scale", jnp.full((2,), 2.0))
            self.register_buffer("scratch", jnp.zeros(1), persistent=False)
            self.register_parameter("weight", nn.Parameter(jnp.ones(2)))
            self.register_parameter("none", None)
            self.add_module("part", nn.Sequential(OrderedDict(inner=linear())))

    net = Net()
    assert list(state_dict(net)) == ["weight", "scale", "part.inner.weight", "part.inner.bias"]
    assert [name for name, _ in net.named_buffers()] == ["scale", "scratch"]
    assert net.get_submodule("part.inner") is net.part.inner
    assert net.get_submodule("") is net
    assert net.get_parameter("part.inner.bias") is net.part.inner.bias
    assert net.get_buffer("scale") is net.scale
    load_state_dict(net, state_dict(net))
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Sequential", "Net"]
    assert all(p.dtype == jnp.bfloat16 for p in net.bfloat16().parameters())
    assert all(p.dtype == jnp.float32 for p in net.half().float().parameters())


class TestFreezing:
    def net(self) -> nn.Sequential:
        return nn.Sequential(L(3, 4, rngs=0), nn.Sigmoid(), L(4, 1, rngs=1))

    def test_flags(self):
        net = self.net()
        assert net[0].weight.requires_grad
        net[0].requires_grad_(False)
        assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
        net[2].bias.requires_grad = False
        graph, params, rest = nnx.split(net, nn.trainable, ...)
        assert len(jax.tree.leaves(params)) == 1
        assert len(jax.tree.leaves(rest)) == 3
        again = nnx.merge(graph, params, rest)
        assert [p.requires_grad for p in again.parameters()] == [False, False, True, False]
        assert all(p.requires_grad for p in net.requires_grad_().parameters())

    def test_training_leaves_frozen_parameters_alone(self):
        x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
        y = x.sum(1, keepdims=True)
        net = self.net()
        net[0].requires_grad_(False)
        before = state_dict(net)
        fit(net, (x, y), loss=nn.MSELoss(), optimizer=optax.adamw(0.1), epochs=3, batch_size=4)
        after = state_dict(net)
        changed = {key for key in before if (before[key] != after[key]).any()}
        assert changed == {"2.weight", "2.bias"}
        assert not net[0].weight.requires_grad

    def test_nnx_gradients_follow_the_filter(self):
        net = self.net()
        net[0].requires_grad_(False)
        x = jnp.ones((2, 3))
        grads = nnx.grad(lambda m: m(x).sum(), argnums=nnx.DiffState(0, nn.trainable))(net)
        assert set(nnx.to_pure_dict(grads)) == {"2"}


def test_outputs_are_recorded_also_where_forward_is_inherited():
    class Named(nn.Linear):
        pass

    net = nn.Sequential(nn.BatchNorm1d(3), Named(3, 4, rngs=0), nn.ReLU())
    x = jnp.ones((2, 3))
    with nn.record_outputs(net) as outputs:
        y = net(x)
    assert list(outputs) == ["0", "1", "2", ""]
    assert outputs["2"] is outputs[""] is y
    with nn.record_outputs(net) as nothing:
        pass
    assert nothing == {}


def test_summary_counts_frozen_parameters_and_takes_inherited_forwards():
    class Last(nn.Module):
        def __init__(self):
            self.lstm = nn.LSTM(3, 5, rngs=0)
            self.norm = nn.BatchNorm1d(5)
            self.head = nn.Linear(5, 2, rngs=0)

        def forward(self, x):
            return self.head(self.norm(self.lstm(x)[0][:, -1]))

    net = Last()
    net.lstm.requires_grad_(False)
    found = summary(net, (7, 3))
    assert [row.layer for row in found.rows] == ["LSTM-1", "BatchNorm1d-2", "Linear-3"]
    assert found.frozen == 4 * 5 * (3 + 5 + 2)
    assert f"Non-trainable params: {found.frozen}" in str(found)
    assert f"Trainable params: {found.parameters - found.frozen}" in str(found)
