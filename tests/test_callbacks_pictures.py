"""TensorBoard's files, read back, and the live plot."""

import itertools
import struct
import sys
import types
from collections import defaultdict
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from callback_driver import STEPS, drive, drive_with_a_crash, new_training
from flax import nnx

from jaxport import nn
from jaxport.engine.callbacks import LambdaCallback, LivePlot, TensorBoard
from jaxport.engine.callbacks.graph_trace import trace
from jaxport.errors import UsageError
from jaxport.models import mnist_cnn

pytest.importorskip("tensorboardX")
pytest.importorskip("matplotlib")
from jaxport.engine.callbacks import live_plot

ROWS = [{"loss": 1.0 / (i + 1), "val_loss": 2.0 / (i + 1), "accuracy": i / 10} for i in range(6)]


def events(folder):
    """The events of a folder's files as TensorBoard reads them: in order, what a restart replaces taken away."""
    message, found = import_module("tensorboardX.proto.event_pb2").Event, []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = message.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.HasField("session_log"):
                found = [old for old in found if old.step < event.step or not old.HasField("summary")]
            found.append(event)
    return found


def scalars(folder):
    series = defaultdict(dict)
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                assert event.step not in series[value.tag], "written twice"
                series[value.tag][event.step] = value.simple_value
    return series


def summaries(folder, kind):
    return [(e.step, v.tag, getattr(v, kind)) for e in events(folder) for v in e.summary.value if v.HasField(kind)]


def test_scalars_are_the_history(tmp_path):
    training = drive(new_training(6), [TensorBoard(tmp_path)], ROWS)
    found = scalars(tmp_path)
    assert set(found) == {"loss", "val_loss", "accuracy", "lr", "seconds"}
    for name, series in found.items():
        assert list(series) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_array_equal([*series.values()], np.float32(training.history[name]))
    layout = [v for e in events(tmp_path) for v in e.summary.value if v.tag.startswith("custom_scalars")]
    assert len(layout) == 1
    assert b"^loss$" in layout[0].SerializeToString()
    assert b"^val_loss$" in layout[0].SerializeToString()
    assert b"accuracy" not in layout[0].SerializeToString()  # it has no validation


def test_an_epoch_without_a_value_has_no_point(tmp_path):
    drive(new_training(3), [TensorBoard(tmp_path)], [{"loss": 1.0}, {"loss": float("nan")}, {"loss": 2.0, "mae": 1.0}])
    found = scalars(tmp_path)
    assert found["loss"] == {1: 1.0, 3: 2.0}
    assert found["mae"] == {3: 1.0}


def test_scalars_of_the_steps_are_a_run_of_their_own(tmp_path):
    board = TensorBoard(tmp_path, log_every=2)
    drive(new_training(2), [board], ROWS)
    assert board.every_steps == 2
    assert scalars(tmp_path / "steps")["loss"] == {2: 1.0, 4: 0.5, 6: 0.5}
    assert set(scalars(tmp_path)["loss"]) == {1, 2}


def test_histograms_of_the_parameters(tmp_path):
    weights = {}

    def keep(training, logs=None):
        weights[training.epoch] = np.asarray(training.module.weight[...])

    watch = LambdaCallback(on_train_begin=keep, on_epoch_end=keep)
    board = TensorBoard(tmp_path, histograms=2)
    assert board.every_epoch
    assert not TensorBoard(tmp_path).every_epoch
    drive(new_training(5), [watch, board], ROWS)
    found = summaries(tmp_path, "histo")
    assert [(step, tag) for step, tag, _ in found] == [(s, t) for s in (0, 2, 4) for t in ("weight", "bias")]
    for step, tag, histogram in found:
        if tag == "weight":
            assert histogram.num == 2
            assert histogram.min == pytest.approx(weights[step].min())
            assert histogram.max == pytest.approx(weights[step].max())
            assert histogram.sum == pytest.approx(weights[step].sum(), rel=1e-6)
            assert sum(histogram.bucket) == 2


def test_weights_that_are_not_finite_are_left_out(tmp_path):
    def spoil(training):
        bad = jax.tree.map(lambda w: w.at[0].set(jnp.nan), training.state.params)
        training.state = training.state._replace(params=bad)

    drive(new_training(1), [LambdaCallback(on_steps_end=spoil), TensorBoard(tmp_path, histograms=1)], ROWS)
    assert [(step, tag) for step, tag, _ in summaries(tmp_path, "histo")] == [(0, "weight"), (0, "bias")]


def test_pictures(tmp_path):
    from matplotlib.figure import Figure

    board = TensorBoard(tmp_path)
    image = jnp.arange(3 * 4 * 5, dtype=jnp.uint8).reshape(3, 4, 5)
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.add_subplot().plot([1, 2])
    board.add_image("before", image)
    draw = LambdaCallback(
        on_epoch_end=lambda training, logs: (
            board.add_image("one", jnp.zeros((4, 5)), dataformats="HW"),
            board.add_images("many", jnp.ones((4, 1, 6, 7))),
            board.add_figure("plot", figure, step=99),
        )
    )
    drive(new_training(1), [board, draw], ROWS)
    found = {(step, tag): image for step, tag, image in summaries(tmp_path, "image")}
    assert set(found) == {(0, "before"), (1, "one"), (1, "many"), (99, "plot")}
    sizes = {tag: (i.height, i.width) for (_, tag), i in found.items()}
    assert sizes["before"] == (4, 5)
    assert sizes["one"] == (4, 5)
    assert sizes["plot"] == (50, 100)
    assert sizes["many"][0] >= 6
    from PIL import Image

    (tmp_path / "before.png").write_bytes(found[0, "before"].encoded_image_string)
    pixels = np.asarray(Image.open(tmp_path / "before.png"))
    np.testing.assert_array_equal(pixels, np.moveaxis(np.asarray(image), 0, -1))


@pytest.mark.parametrize(("saved", "crashed"), [(2, 2), (2, 5), (5, 6)])
def test_a_resumed_run_shows_each_epoch_once(saved, crashed, tmp_path):
    make = lambda folder: [TensorBoard(folder, histograms=2, log_every=STEPS)]  # noqa: E731
    drive(new_training(6), make(tmp_path / "whole"), ROWS)
    drive_with_a_crash(lambda: make(tmp_path / "parts"), ROWS, saved, crashed)
    for sub in (".", "steps"):
        assert scalars(tmp_path / "whole" / sub) == scalars(tmp_path / "parts" / sub)
    a, b = (summaries(tmp_path / name, "histo") for name in ("whole", "parts"))
    assert [(step, tag, h.SerializeToString()) for step, tag, h in a] == [
        (s, t, h.SerializeToString()) for s, t, h in b
    ]


def test_what_a_checkpoint_came_before_is_written_from_the_history(tmp_path):
    first, board = new_training(4), TensorBoard(tmp_path)
    drive(first, [board], ROWS, until=2, end=False)
    state = board.state_dict()
    drive(first, [], ROWS, until=3, end=False)
    second = TensorBoard(tmp_path)
    second.load_state_dict(state)
    drive(first, [second], ROWS)
    assert list(scalars(tmp_path)["loss"]) == [1, 2, 3, 4]


# -------------------------------------------------------------------------------------------------------- the graph


class Residual(nn.Module):
    """A shortcut around two layers, a parameter of its own, and a layer called twice."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.add = nn.Sequential(nn.Linear(3, 3, rngs=rngs), nn.Tanh())
        self.scale = nn.Parameter(jnp.ones(3))
        self.unused = nn.Linear(3, 3, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        y = self.add(x) + x
        return self.add(y) * self.scale[...][None]


def path_of_boxes(nodes):
    """The boxes in the order in which the input's data first enters them."""
    return list(dict.fromkeys(n.name.split("/")[0] for n in nodes if n.op not in ("Parameter", "Buffer")))


@pytest.mark.usefixtures("strict_jax")
def test_the_graph_of_a_model_in_the_order_of_its_layers():
    nodes = trace(mnist_cnn.build(rngs=nnx.Rngs(0)).eval(), (2, 1, 28, 28))
    assert path_of_boxes(nodes) == [
        "input", "Conv2d[conv1]", "MaxPool2d[pool1]", "Conv2d[conv2]", "MaxPool2d[pool2]",
        "AdaptiveMaxPool2d[adaptive_pool]", "Flatten[flatten]", "Linear[linear1]", "ReLU[relu]", "Linear[linear2]",
        "output",
    ]  # fmt: skip
    by_name = {node.name: node for node in nodes}
    assert len(by_name) == len(nodes)
    known = set()
    for node in nodes:
        assert set(node.inputs) <= known, "computed before what it reads"
        known.add(node.name)
    parameters = {node.name: node.shapes[0] for node in nodes if node.op == "Parameter"}
    assert parameters["Conv2d[conv2]/weight"] == (64, 32, 5, 5)
    assert len(parameters) == 8
    assert by_name["input"].shapes == [(2, 1, 28, 28)]
    assert by_name["output"].shapes == [(2, 10)]
    # The data flows from box to box along the layers, and nowhere else.
    crossing = {(a.split("/")[0], node.name.split("/")[0]) for node in nodes for a in node.inputs}
    boxes = path_of_boxes(nodes)
    assert {(a, b) for a, b in crossing if a != b} == set(itertools.pairwise(boxes))


def test_the_graph_of_a_shortcut():
    nodes = {node.name: node for node in trace(Residual().eval(), (2, 3))}
    first, shortcut = nodes["add"].inputs
    assert first.startswith("Sequential[add]/Tanh[1]/")
    assert shortcut == "input"
    assert nodes["Sequential[add]/Linear[0]/dot_general_1"].inputs[0] == "add"
    assert nodes["mul"].inputs[0].startswith("Sequential[add]/Tanh[1]/")
    assert nodes["mul"].inputs[0] != first
    assert nodes["scale"].op == "Parameter"
    assert nodes["output"].inputs == ["mul"]
    assert not [name for name in nodes if "unused" in name]


def test_a_node_does_not_take_the_name_of_a_box():
    names = [node.name for node in trace(nn.Sequential(nn.Linear(2, 2, rngs=0), nn.Tanh()), (1, 2))]
    boxes = {"/".join(name.split("/")[:i]) for name in names for i in range(1, name.count("/") + 1)}
    assert not boxes & set(names)


def test_modules_inside_compiled_and_checkpointed_functions_keep_their_boxes():
    class Inner(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(2, 2, rngs=0), nn.Linear(2, 2, rngs=1)

        def forward(self, x: jax.Array) -> jax.Array:
            def named(y: jax.Array) -> jax.Array:
                return self.first(y)

            return jax.checkpoint(lambda y: self.second(y))(jax.jit(named)(x))

    nodes = {node.name: node for node in trace(Inner().eval(), (1, 2))}
    assert nodes["Linear[second]/dot_general"].inputs[0] == "Linear[first]/add"
    assert nodes["output"].inputs == ["Linear[second]/add"]


def test_inputs_of_other_kinds():
    class Two(nn.Module):
        def forward(self, x: jax.Array, y: jax.Array) -> jax.Array:
            return x + y.astype(jnp.float32)

    class Named(nn.Module):
        def forward(self, pair: dict[str, jax.Array]) -> jax.Array:
            return pair["a"] * pair["b"]

    spec = (jax.ShapeDtypeStruct((2, 3), jnp.float32), jax.ShapeDtypeStruct((2, 3), jnp.int8))
    nodes = {node.name: node for node in trace(Two(), spec)}
    assert nodes["input_0_"].dtypes == [np.dtype("float32")]
    assert nodes["input_1_"].dtypes == [np.dtype("int8")]
    named = {"a": np.zeros((2, 3), np.float32), "b": np.zeros((1, 3), np.float32)}
    assert [n.name for n in trace(Named(), named) if n.op == "Placeholder"] == ["input__a__", "input__b__"]
    embedded = {node.name: node for node in trace(nn.Embedding(5, 2, rngs=0), np.zeros((3,), np.int32))}
    assert embedded["output"].shapes == [(3, 2)]


def test_the_graph_in_the_file(tmp_path):
    drive(new_training(1), [TensorBoard(tmp_path, input_shape=(4, 2))], ROWS)
    graphs = [event.graph_def for event in events(tmp_path) if event.HasField("graph_def")]
    assert len(graphs) == 1
    graph = import_module("tensorboardX.proto.graph_pb2").GraphDef.FromString(graphs[0])
    assert [node.name for node in graph.node] == [
        "bias", "weight", "input", "transpose", "dot_general", "broadcast_in_dim", "add", "output",
    ]  # fmt: skip
    shapes = {n.name: [d.size for d in n.attr["_output_shapes"].list.shape[0].dim] for n in graph.node}
    assert shapes["input"] == [4, 2]
    assert shapes["output"] == [4, 1]
    assert {node.name: list(node.input) for node in graph.node}["output"] == ["add"]


def test_the_runs_own_input_is_drawn(tmp_path):
    training = new_training(1)
    training.input_spec = jax.ShapeDtypeStruct((7, 2), jnp.float32)  # what the loop tells
    drive(training, [TensorBoard(tmp_path)], ROWS)
    assert [event for event in events(tmp_path) if event.HasField("graph_def")]
    drive(new_training(1), [TensorBoard(tmp_path / "none", graph=False, input_shape=(7, 2))], ROWS)
    assert not [event for event in events(tmp_path / "none") if event.HasField("graph_def")]


def test_an_input_that_the_model_does_not_take(tmp_path):
    with pytest.raises(UsageError, match=r"does not take an input of shape \(4, 3\) and dtype float32: .*"):
        drive(new_training(1), [TensorBoard(tmp_path, input_shape=(4, 3))], ROWS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_dir": 3}, "TensorBoard: log_dir must be a path, got 3"),
        ({"histograms": 0}, "histograms must be a whole number of at least 1, got 0"),
        ({"log_every": -1}, "log_every must be a whole number of at least 1, got -1"),
        ({"input_shape": (0, 2)}, r"input_shape must be sizes with the batch first, .*, got \(0, 2\)"),
        ({"input_shape": 784}, "input_shape must be sizes with the batch first, .*, got 784"),
    ],
)
def test_arguments_of_tensorboard(options, message):
    with pytest.raises(UsageError, match=message):
        TensorBoard(**({"log_dir": "x"} | options))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"TensorBoard: log_dir=.* cannot be made"):
        drive(new_training(1), [TensorBoard(tmp_path / "file" / "x")], ROWS)


def test_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"TensorBoard needs tensorboardX: pip install 'jaxport\[viz\]'"):
        drive(new_training(1), [TensorBoard(tmp_path)], ROWS)


# ---------------------------------------------------------------------------------------------------- the live plot


def test_the_plot_is_drawn_after_each_epoch(tmp_path, monkeypatch):
    drawn = []
    real = live_plot.LivePlot._draw
    monkeypatch.setattr(live_plot.LivePlot, "_draw", lambda self, t: (drawn.append(len(t.history)), real(self, t)))
    drive(new_training(3), [LivePlot(tmp_path / "a.png", share=1)], ROWS)
    assert drawn == [1, 2, 3]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    drawn.clear()
    drive(new_training(6), [LivePlot(tmp_path / "a.png", share=0)], ROWS)
    assert drawn == [1, 6]  # the first at once, all the others at the end


class Notebook:
    """What IPython shows in a notebook."""

    def __init__(self):
        self.shown, self.updates = [], []
        self.kernel = True

    def display(self, figure, display_id):
        assert display_id is True
        self.shown.append(figure)
        return types.SimpleNamespace(update=self.updates.append)


def test_in_a_notebook_the_picture_stays_in_its_place(monkeypatch, tmp_path):
    notebook = Notebook()
    fake = types.SimpleNamespace(get_ipython=lambda: notebook, display=notebook, version_info=(9, 0))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    drive(new_training(2), [LivePlot(share=1)], ROWS)
    assert [len(figure.axes) for figure in notebook.shown] == [2]
    assert [len(figure.axes) for figure in notebook.updates] == [2]
    assert list(tmp_path.iterdir()) == []
    del notebook.kernel  # a plain shell
    with pytest.raises(UsageError, match="path is None, and this is no notebook; give the path"):
        drive(new_training(2), [LivePlot()], ROWS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "a.pdf"}, r"LivePlot: path='a\.pdf' must end in \.png"),
        ({"path": 3}, "LivePlot: path must be a path, got 3"),
        ({"path": "a.png", "share": 2}, "LivePlot: share must be at most 1, got 2"),
        ({"path": "a.png", "share": -1}, "LivePlot: share must be a finite number of at least 0, got -1"),
    ],
)
def test_arguments_of_the_live_plot(options, message):
    with pytest.raises(UsageError, match=message):
        LivePlot(**options)


def test_a_missing_folder_is_found_before_training(tmp_path):
    training = new_training(1)
    with pytest.raises(UsageError, match=r"path='.*none/a\.png' is in no folder that exists"):
        drive(training, [LivePlot(tmp_path / "none" / "a.png")], ROWS)
    assert training.step == 0
