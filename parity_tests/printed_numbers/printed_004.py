"""PyTorch notes, quick start: batches, tensors, layers and the network's parameters."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport import nn
from jaxport.data import Splits, fashion_mnist

from .printed_judge import given
from .printed_row import Printed

tensor = jnp.ones((4, 4)).at[:, 1].set(0)
BEFORE = """tensor([[ 0.4158, -0.0130, -0.1144,  0.3960,  0.1476, -0.0690, -0.0269,  0.2690,
          0.1353,  0.1975,  0.4484,  0.0753,  0.4455,  0.5321, -0.1692,  0.4504,
          0.2476, -0.1787, -0.2754,  0.2462],
        [ 0.2326,  0.0623, -0.2984,  0.2878,  0.2767, -0.5434, -0.5051,  0.4339,
          0.0302,  0.1634,  0.5649, -0.0055,  0.2025,  0.4473, -0.2333,  0.6611,
          0.1883, -0.1250,  0.0820,  0.2778],
        [ 0.3325,  0.2654,  0.1091,  0.0651,  0.3425, -0.3880, -0.0152,  0.2298,
          0.3872,  0.0342,  0.8503,  0.0937,  0.1796,  0.5007, -0.1897,  0.4030,
          0.1189, -0.3237,  0.2048,  0.4343]], grad_fn=<AddmmBackward0>)"""
hidden = given(BEFORE)
RECTIFIED = """tensor([[0.4158, 0.0000, 0.0000, 0.3960, 0.1476, 0.0000, 0.0000, 0.2690, 0.1353,
         0.1975, 0.4484, 0.0753, 0.4455, 0.5321, 0.0000, 0.4504, 0.2476, 0.0000,
         0.0000, 0.2462],
        [0.2326, 0.0623, 0.0000, 0.2878, 0.2767, 0.0000, 0.0000, 0.4339, 0.0302,
         0.1634, 0.5649, 0.0000, 0.2025, 0.4473, 0.0000, 0.6611, 0.1883, 0.0000,
         0.0820, 0.2778],
        [0.3325, 0.2654, 0.1091, 0.0651, 0.3425, 0.0000, 0.0000, 0.2298, 0.3872,
         0.0342, 0.8503, 0.0937, 0.1796, 0.5007, 0.0000, 0.4030, 0.1189, 0.0000,
         0.2048, 0.4343]], grad_fn=<ReluBackward0>)"""
NET = """NeuralNetwork(
  (flatten): Flatten(start_dim=1, end_dim=-1)
  (linear_relu_stack): Sequential(
    (0): Linear(in_features=784, out_features=512, bias=True)
    (1): ReLU()
    (2): Linear(in_features=512, out_features=512, bias=True)
    (3): ReLU()
    (4): Linear(in_features=512, out_features=10, bias=True)
  )
)"""
ROW = "[1., 0., 1., 1.]"
ONES, TWOS = "tensor([1., 1., 1., 1., 1.])", "tensor([2., 2., 2., 2., 2.])"
COUNTERS = "[64, 6464, 12864, 19264, 25664, 32064, 38464, 44864, 51264, 57664]"
SHAPES = {
    1105: ("linear_relu_stack.0.weight", "[512, 784]"),
    1109: ("linear_relu_stack.0.bias", "[512]"),
    1111: ("linear_relu_stack.2.weight", "[512, 512]"),
    1115: ("linear_relu_stack.2.bias", "[512]"),
    1117: ("linear_relu_stack.4.weight", "[10, 512]"),
    1121: ("linear_relu_stack.4.bias", "[10]"),
}


def linear() -> nn.Linear:
    """The first layer of the chapter on layers."""
    return nn.Linear(28 * 28, 20, rngs=nnx.Rngs(0))


def counters(examples: int, batch: int, every: int) -> str:
    """How many examples are done when the loss is printed."""
    starts = np.arange(0, examples, batch)[::every]
    return str([int(start) + min(batch, examples - int(start)) for start in starts])


@cache
def parts(folder: Path) -> Splits:
    """Return the pictures to train on and to test on."""
    return fashion_mnist.load(folder)


def first_batch(folder: Path) -> tuple[jax.Array, jax.Array]:
    """Return the first 64 test pictures and their labels."""
    return jnp.asarray(parts(folder).val.x[:64]), jnp.asarray(parts(folder).val.y[:64])


ROWS = (
    Printed(
        "004 quick start:76",
        "the size of X",
        "first_batch(folder)[0].shape",
        "torch.Size([64, 1, 28, 28])",
        "shape",
        data="fashion_mnist",
    ),
    Printed(
        "004 quick start:77",
        "the size of y",
        "first_batch(folder)[1].shape",
        "torch.Size([64])",
        "shape",
        data="fashion_mnist",
    ),
    Printed(
        "004 quick start:77",
        "the type of y",
        "first_batch(folder)[1].dtype",
        "torch.int64",
        "dtype",
        data="fashion_mnist",
    ),
    Printed("004 quick start:127", "print(model)", 'str(port("fashion_mnist"))', NET),
    *(
        Printed(f"004 quick start:{line}", "examples done, of 60000", "counters(60000, 64, 100)", COUNTERS, "count")
        for line in (247, 262, 277, 292, 307)
    ),
    Printed(
        "004 tensors:415",
        "torch.ones_like(x_data)",
        "jnp.ones_like(jnp.array([[1, 2], [3, 4]]))",
        "tensor([[1, 1], [1, 1]])",
    ),
    Printed("004 tensors:442", "torch.ones(shape)", "jnp.ones((2, 3))", "tensor([[1., 1., 1.], [1., 1., 1.]])"),
    Printed("004 tensors:446", "torch.zeros(shape)", "jnp.zeros((2, 3))", "tensor([[0., 0., 0.], [0., 0., 0.]])"),
    Printed(
        "004 tensors:463",
        "torch.rand(3, 4).shape",
        "jax.random.uniform(jax.random.key(0), (3, 4)).shape",
        "torch.Size([3, 4])",
        "shape",
    ),
    Printed(
        "004 tensors:464",
        "torch.rand(3, 4).dtype",
        "jax.random.uniform(jax.random.key(0), (3, 4)).dtype",
        "torch.float32",
        "dtype",
    ),
    Printed("004 tensors:494", "tensor[0]", "jnp.ones((4, 4))[0]", "tensor([1., 1., 1., 1.])"),
    Printed("004 tensors:495", "tensor[:, 0]", "jnp.ones((4, 4))[:, 0]", "tensor([1., 1., 1., 1.])"),
    Printed("004 tensors:496", "tensor[..., -1]", "jnp.ones((4, 4))[..., -1]", "tensor([1., 1., 1., 1.])"),
    Printed("004 tensors:497", "tensor[:, 1] = 0", "tensor", f"tensor([{ROW}, {ROW}, {ROW}, {ROW}])"),
    Printed(
        "004 tensors:511",
        "torch.cat([tensor, tensor, tensor], dim=1)",
        "jnp.concatenate([tensor, tensor, tensor], 1)",
        """tensor([[1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],
                [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],
                [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],
                [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.]])""",
    ),
    Printed("004 tensors:549", "tensor.sum().item()", "str(tensor.sum().item())", "12.0"),
    Printed("004 tensors:549", "its type", "str(type(tensor.sum().item()))", "<class 'float'>", "dtype"),
    Printed("004 tensors:563", "tensor", "tensor", f"tensor([{ROW}, {ROW}, {ROW}, {ROW}])"),
    Printed(
        "004 tensors:568",
        "tensor.add_(5)",
        "tensor + 5",
        "tensor([[6., 5., 6., 6.], [6., 5., 6., 6.], [6., 5., 6., 6.], [6., 5., 6., 6.]])",
    ),
    Printed("004 tensors:592", "torch.ones(5)", "jnp.ones(5)", ONES),
    Printed("004 tensors:593", "t.numpy()", "np.asarray(jnp.ones(5))", "[1. 1. 1. 1. 1.]"),
    Printed("004 tensors:605", "t.add_(1)", "jnp.ones(5) + 1", TWOS),
    Printed("004 tensors:606", "n", "np.asarray(jnp.ones(5) + 1)", "[2. 2. 2. 2. 2.]"),
    Printed(
        "004 tensors:625",
        "np.add(n, 1, out=n)",
        "jnp.asarray(np.ones(5)) + 1",
        "tensor([2., 2., 2., 2., 2.], dtype=torch.float64)",
        x64=True,
    ),
    Printed("004 tensors:626", "n", "np.asarray(jnp.ones(5) + 1)", "[2. 2. 2. 2. 2.]"),
    Printed(
        "004 data:637",
        "pictures in all",
        "len(parts(folder).train.y) + len(parts(folder).val.y)",
        "70000",
        "count",
        data="fashion_mnist",
    ),
    Printed("004 data:637", "to train on", "len(parts(folder).train.y)", "60000", "count", data="fashion_mnist"),
    Printed("004 data:637", "to test on", "len(parts(folder).val.y)", "10000", "count", data="fashion_mnist"),
    Printed(
        "004 data:821",
        "the size of a batch",
        "first_batch(folder)[0].shape",
        "torch.Size([64, 1, 28, 28])",
        "shape",
        data="fashion_mnist",
    ),
    Printed(
        "004 data:822",
        "the size of its labels",
        "first_batch(folder)[1].shape",
        "torch.Size([64])",
        "shape",
        data="fashion_mnist",
    ),
    Printed("004 network:955", "print(model)", 'str(port("fashion_mnist"))', NET),
    Printed(
        "004 network:993", "input_image.size()", "jnp.zeros((3, 28, 28)).shape", "torch.Size([3, 28, 28])", "shape"
    ),
    Printed(
        "004 network:1007", "flat_image.size()", "output_shape(nn.Flatten, 3, 28, 28)", "torch.Size([3, 784])", "shape"
    ),
    Printed("004 network:1021", "hidden1.size()", "output_shape(linear, 3, 784)", "torch.Size([3, 20])", "shape"),
    Printed("004 network:1046", "nn.ReLU()(hidden1), from the printed hidden1", "F.relu(hidden)", RECTIFIED, "digits"),
    Printed("004 network:1093", "print(model)", 'str(port("fashion_mnist"))', NET),
    *(
        Printed(
            f"004 network:{line}",
            name,
            f'port("fashion_mnist").get_parameter("{name}").shape',
            f"torch.Size({size})",
            "shape",
        )
        for line, (name, size) in SHAPES.items()
    ),
)
