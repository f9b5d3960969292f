"""What a later fit leaves out, and that it notices when it must not."""

from dataclasses import fields

import jax
import numpy as np
import pytest
from flax import nnx

from jaxport import nn, optim
from jaxport.engine import Batch, Model
from jaxport.engine import model as engine_model
from jaxport.engine.batches import Batches
from jaxport.engine.state import split
from jaxport.engine.step import graphs

X = np.random.default_rng(0).standard_normal((11, 3)).astype(np.float32)
Y = X[:, :1]


@pytest.fixture
def traced(monkeypatch):
    """The shapes of the batches whose step was traced, in order."""
    seen, examine = [], engine_model.examine

    def noted(task, state, batch, *more):
        seen.append(jax.tree.leaves(batch.x)[0].shape)
        return examine(task, state, batch, *more)

    monkeypatch.setattr(engine_model, "examine", noted)
    return seen


def make(p: float = 0.5) -> Model:
    rngs = nnx.Rngs(0)
    model = Model(nn.Sequential(nn.Dropout(p, rngs=rngs), nn.Linear(3, 1, rngs=rngs)))
    model.compile(nn.MSELoss(), optim.Adam(lr=0.1))
    return model


def test_a_step_is_traced_once_for_its_shapes(traced):
    model = make()
    for _ in range(2):
        model.fit((X, Y), batch_size=4, verbose=0)
    assert traced == [(4, 3)]
    model.evaluate((X, Y), batch_size=4)
    model.evaluate((X, Y), batch_size=4)
    assert traced == [(4, 3)] * 2  # in evaluation mode
    model.fit((X, Y), batch_size=5, verbose=0)
    assert traced[2:] == [(5, 3)]


def test_a_changed_layer_or_setting_is_noticed(traced):
    model, other = make(), make()
    for each in (model, other):
        each.fit((X, Y), batch_size=4, verbose=0)
        task = each.task
        each.module[0].p = 0.0
        each.fit((X, Y), batch_size=4, verbose=0)
        assert each.task is not task
    model.compile(nn.L1Loss(), optim.Adam(lr=0.1))
    model.fit((X, Y), batch_size=4, verbose=0)
    assert len(traced) == 5


def test_the_modules_mode_changes_nothing():
    model = make()
    model.fit((X, Y), batch_size=4, verbose=0)
    task = model.task
    model.module.eval()
    model.fit((X, Y), batch_size=4, verbose=0)
    assert model.task is task
    assert not model.module.training
    assert task.train_graph == graphs(model.module)[0]


def test_a_later_fit_starts_from_weights_that_were_put_into_the_module():
    """SGD without momentum: the weights are all that a fit starts from."""
    model, like = make(0.0), make(0.0)
    for each in (model, like):
        each.compile(nn.MSELoss(), optim.SGD(lr=0.1))
    wanted = like.fit((X, Y), batch_size=4, seed=3, verbose=0)["loss"]
    other = model.fit((X, Y), batch_size=4, epochs=2, seed=3, verbose=0)["loss"][1:]
    nnx.update(model.module, split(make(0.0).module)[1])
    assert model.fit((X, Y), batch_size=4, seed=3, verbose=0)["loss"] == wanted
    assert other != wanted


@pytest.mark.parametrize("examples", [8, 11])
@pytest.mark.parametrize("size", [4, 8, 11])
@pytest.mark.parametrize("multiple", [1, 3])
def test_shapes_and_stored_order_without_a_program(examples, size, multiple):
    batches = Batches(examples, min(size, examples), False, multiple)
    ones = np.ones(examples, np.float32)
    data = Batch(np.zeros((examples, 3), np.float32), (np.zeros(examples, np.int32),), None, ones)
    order = batches.order(None, 0)
    np.testing.assert_array_equal(batches.stored_order(), order)
    assert batches.stored_order().dtype == order.dtype
    taken = jax.eval_shape(batches.take, data, order, np.int32(0))
    found = batches.taken(data)
    assert all(_described(getattr(found, f)) == _described(getattr(taken, f)) for f in Batch._fields)


def _described(tree):
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def test_the_key_of_tasks_has_all_that_they_are_made_of():
    """`Model._task` compares the module's structure, the steps and the guard; all else is `compile`'s."""
    model = make()
    made_here = {"train_graph", "eval_graph", "guard", "train_logic", "eval_logic"}
    assert {field.name for field in fields(model.task)} - made_here - {"gather"} == set(model._settings)
