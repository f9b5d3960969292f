"""ResNet's stages, U-Net and its loss, the generated sets, variants by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import cli, data, metrics, nn, ports
from jaxport.data import shapes
from jaxport.errors import UsageError
from jaxport.models import linreg_plane, quadratic, resnet, unet
from jaxport.models.circles import ClampedBCE


def traced(build, x):
    """Return the shapes of every module's output on an input of shape `x`, computing nothing."""
    graph, state = nnx.split(nnx.eval_shape(build))

    def forward(state, x):
        module = nnx.merge(graph, state, copy=True).eval()
        with nn.record_outputs(module) as outputs:
            module(x)
        return outputs

    outputs = jax.eval_shape(forward, state, jax.ShapeDtypeStruct(x, "float32"))
    return {path: out.shape[1:] for path, out in outputs.items()}


# depth: channels of the four stages
STAGES = {18: (64, 128, 256, 512), 34: (64, 128, 256, 512), 50: (256, 512, 1024, 2048)}


@pytest.mark.parametrize("depth", STAGES)
def test_the_stages_of_resnet_at_224_pixels(depth):
    seen = traced(lambda: resnet.ResNet(depth, rngs=nnx.Rngs(0)), (1, 1, 224, 224))
    assert seen["conv1"] == (64, 112, 112)
    assert seen["maxpool"] == (64, 56, 56)
    for i, (channels, side) in enumerate(zip(STAGES[depth], (56, 28, 14, 7), strict=True), 1):
        assert seen[f"layer{i}"] == (channels, side, side)
    assert seen["avgpool"] == (STAGES[depth][-1], 1, 1)
    assert seen[""] == (10,)


def test_resnet_has_no_other_depth():
    with pytest.raises(ValueError, match=r"depth must be one of \[18, 34, 50, 101, 152\], got 20"):
        resnet.ResNet(20, rngs=nnx.Rngs(0))


def test_a_block_halves_its_picture_or_keeps_it():
    for block, stride, shape in (
        (resnet.BasicBlock, 1, (12, 8, 6)),
        (resnet.BasicBlock, 2, (12, 4, 3)),
        (resnet.Bottleneck, 2, (48, 4, 3)),
    ):
        seen = traced(lambda block=block, stride=stride: block(12, 12, stride, rngs=nnx.Rngs(0)), (1, 12, 8, 6))
        assert seen[""] == shape
        assert ("downsample" in seen) == (shape != (12, 8, 6))


def test_the_maps_of_unet():
    seen = traced(lambda: unet.UNet(rngs=nnx.Rngs(0)), (1, 3, 64, 48))
    downs = [seen["inc"], *(seen[f"down{i}"] for i in range(1, 5))]
    assert downs == [(16, 64, 48), (32, 32, 24), (64, 16, 12), (128, 8, 6), (256, 4, 3)]
    assert [seen[f"up{i}"] for i in range(1, 5)] == [(128, 8, 6), (64, 16, 12), (32, 32, 24), (16, 64, 48)]
    assert seen[""] == (1, 64, 48)


def test_unet_says_what_pictures_it_takes():
    with pytest.raises(ValueError, match=r"multiples of 16, got \(64, 40\)"):
        traced(lambda: unet.UNet(rngs=nnx.Rngs(0)), (1, 3, 64, 40))
    with pytest.raises(ValueError, match=r"has 4 channels, but weight \(16, 3, 3, 3\)"):
        traced(lambda: unet.UNet(rngs=nnx.Rngs(0)), (1, 4, 64, 64))


def test_the_mistake_of_the_notes_has_a_clear_error():
    def build():
        rngs = nnx.Rngs(0)
        return nn.Sequential(nn.Conv2d(3, 64, 3, rngs=rngs), nn.Conv2d(3, 64, 3, rngs=rngs))

    with pytest.raises(ValueError, match=r"input \(4, 64, 158, 158\) has 64 channels, but weight \(64, 3, 3, 3\)"):
        traced(build, (4, 3, 160, 160))


def test_the_segmentation_loss_by_hand_and_masked():
    rng = np.random.default_rng(0)
    logits, masks = rng.standard_normal((3, 1, 4, 5)), (rng.random((3, 1, 4, 5)) > 0.6).astype(float)
    p = 1 / (1 + np.exp(-logits))
    bce = -(masks * np.log(p) + (1 - masks) * np.log(1 - p)).mean((1, 2, 3))
    dice = (2 * (p * masks).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    x, y = jnp.asarray(logits, jnp.float32), jnp.asarray(masks, jnp.float32)
    assert float(unet.BCEDiceLoss()(x, y)) == pytest.approx((bce + 1 - dice).mean(), rel=1e-6)
    where = jnp.array([True, False, True])
    assert float(unet.BCEDiceLoss()(x, y, where=where)) == pytest.approx((bce + 1 - dice)[[0, 2]].mean(), rel=1e-6)


def test_the_losses_of_the_low_levels_by_hand():
    p, y = jnp.array([[0.25], [1.0], [0.0]]), jnp.array([[1.0], [0.0], [0.0]])
    eps = np.float32(1) - np.float32(1 - 1e-7)
    expected = (-np.log(0.25) - np.log(eps) - np.log(1 - 1e-7)) / 3
    assert float(ClampedBCE()(p, y)) == pytest.approx(expected, rel=1e-5)
    assert float(ClampedBCE()(p, y, where=jnp.array([True, False, False]))) == pytest.approx(-np.log(0.25), rel=1e-6)
    assert float(linreg_plane.HalfSquaredError()(p, y)) == pytest.approx((0.75**2 + 1) / 6, rel=1e-6)
    assert float(quadratic.Value()(p, y)) == pytest.approx(1.25 / 3, rel=1e-6)
    with pytest.raises(ValueError, match="Value"):
        quadratic.Value()(p, y[:, 0])


def test_the_pictures_of_shapes():
    splits = shapes.load()
    assert [part.x.shape for part in (splits.train, splits.val)] == [(512, 3, 64, 64), (128, 3, 64, 64)]
    assert splits.train.x.dtype == np.uint8
    assert splits.train.y.shape == (512, 1, 64, 64)
    assert set(np.unique(splits.train.y)) == {0.0, 1.0}
    share = splits.train.y.mean((1, 2, 3))
    assert share.min() > 0.02
    assert share.max() < 0.98
    # No brightness tells shape from ground: the best threshold of either direction finds far less than a net.
    grey, truth = splits.val.x.mean(1).ravel(), splits.val.y.ravel() > 0.5
    best = max(
        2 * (guess & truth).sum() / (guess.sum() + truth.sum())
        for threshold in range(20, 240, 10)
        for guess in (grey > threshold, grey < threshold)
    )
    assert best < 0.75
    again = shapes.load()
    np.testing.assert_array_equal(again.train.x, splits.train.x)
    np.testing.assert_array_equal(again.val.y, splits.val.y)


def test_the_dice_of_perfect_and_of_no_masks():
    y = jnp.asarray(shapes.draw(3, np.random.default_rng(0), side=32).y)
    metric = metrics.Dice(threshold=0.0)
    assert float(metric.compute(metric.update(metric.init(), 10 * y - 5, y))) == 1.0
    assert float(metric.compute(metric.update(metric.init(), 5 - 10 * y, y))) == 0.0


def test_the_parabola_and_the_noise_are_what_they_are_called():
    np.testing.assert_array_equal(data.load("quadratic").train.x, [[1.0, -2.0, 1.0]])
    noise = data.load("noise").train
    assert (noise.x.shape, noise.y.shape) == ((1, 1, 32, 32), (1, 10))
    million = data.DATASETS["million"].synthetic(5, np.random.default_rng(0)).train
    assert (million.x.shape, million.y.shape) == ((5, 2), (5, 1))


def test_the_parabola_is_least_at_1():
    port = ports.get("quadratic")
    model = port.build(0)
    port.fit(model, port.load())
    assert float(model.p[...][0]) == pytest.approx(1.0, abs=5e-5)
    assert float(model(jnp.array([[2.0, 3.0, 5.0]]))[0, 0]) == pytest.approx(10.0, abs=1e-3)


def test_whole_sets_are_the_parts_together():
    for part, whole in (("plane", "whole_plane"), ("circles", "whole_circles")):
        parts, all_of_it = data.load(part), data.load(whole)
        np.testing.assert_array_equal(np.concatenate([parts.train.x, parts.val.x]), all_of_it.train.x)
        np.testing.assert_array_equal(all_of_it.train.y, all_of_it.val.y)


def test_variants_stand_behind_their_ports():
    every = ports.names(variants=True)
    assert [name for name in every if "-" not in name] == ports.names()
    assert set(every) == set(ports.names()) | set(ports.VARIANTS)
    assert every.index("resnet-152") == every.index("resnet") + 4
    assert ports.of("resnet-152") == ports.of("resnet") == "resnet"
    assert ports.get("resnet-50").title == "ResNet-50 on Fashion-MNIST"
    assert all(ports.get(name).name == name for name in every)


def test_a_variant_that_is_not_there():
    with pytest.raises(UsageError, match=r"resnet has no variant 'resnet-20'; there are resnet, resnet-34"):
        ports.get("resnet-20")
    with pytest.raises(UsageError, match="did you mean 'titanic'"):
        ports.get("titanik")


def test_the_list_has_the_variants_when_asked(capsys):
    assert cli.main(["list", "--json"]) == 0
    assert '"circles-low"' not in capsys.readouterr().out
    assert cli.main(["list", "--json", "--variants"]) == 0
    assert '"circles-low"' in capsys.readouterr().out


def test_rosetta_on_the_command_line(capsys):
    assert cli.main(["rosetta", "gather"]) == 0
    assert "take_along_axis" in capsys.readouterr().out
    assert cli.main(["rosetta", "gather", "--json"]) == 0
    assert '"jax": "jnp.take_along_axis(logits, labels[:, None], axis=1)"' in capsys.readouterr().out
    assert cli.main(["rosetta", "nothing of the kind"]) == 2
    assert capsys.readouterr().err.startswith("error: no row speaks of 'nothing of the kind'")


@pytest.mark.parametrize("name", ["linreg_plane-low", "linreg_plane-mid", "circles-mid", "quadratic", "lenet32"])
def test_the_quick_ones_reach_what_they_should(name):
    port = ports.get(name)
    assert not port.unmet(port.fit(port.build(0), port.load()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["circles-low", "linreg_million"])
def test_the_longer_ones_reach_what_they_should(name):
    port = ports.get(name)
    assert not port.unmet(port.fit(port.build(0), port.load()))
