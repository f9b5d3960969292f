"""PyTorch notes: sizes of pictures, and the official 60-minute introduction."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn

from .printed_row import Printed

x = jnp.array(
    [
        [1.6040, -0.6769, 0.0555],
        [0.6273, 0.7683, -0.2838],
        [-0.7159, -0.5566, -0.2020],
        [0.6266, 0.3566, 1.4497],
        [-0.8092, -0.6741, 0.0406],
    ]
)
picture = jnp.zeros((512, 512))
small = jnp.zeros((160, 160)).reshape(1, 160, 160)
ones = jnp.ones((2, 2))


def mean(x: jax.Array) -> jax.Array:
    """The mean of 3 (x + 2)²."""
    return jnp.mean(z(x))


def z(x: jax.Array) -> jax.Array:
    """3 (x + 2)²."""
    y = x + 2
    return y * y * 3


def conv() -> nn.Conv2d:
    """The first convolution of the U-net."""
    return nn.Conv2d(3, 64, 3, rngs=nnx.Rngs(0))


NET = """
Net(
  (conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))
  (conv2): Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))
  (fc1): Linear(in_features=400, out_features=120, bias=True)
  (fc2): Linear(in_features=120, out_features=84, bias=True)
  (fc3): Linear(in_features=84, out_features=10, bias=True)
)
"""
ONES, TWOS = "tensor([1., 1., 1., 1., 1.])", "tensor([2., 2., 2., 2., 2.])"

ROWS = (
    Printed("003 unet:16", "the weight of 64 3 3 3", "sizes(conv).weight.shape", "torch.Size([64, 3, 3, 3])"),
    Printed(
        "003 unet:16", "its output", "output_shape(conv, 4, 3, 160, 160)", "torch.Size([4, 64, 158, 158])", "shape"
    ),
    Printed("003 cv2:70", "a grey picture", "np.zeros((512, 512)).shape", "torch.Size([512, 512])", "shape"),
    Printed("003 cv2:72", "ToTensor()(image)", "picture[None].shape", "torch.Size([1, 512, 512])", "shape"),
    Printed("003 cv2:91", "image.shape", "picture.shape", "torch.Size([512, 512])", "shape"),
    Printed("003 cv2:92", "image.reshape((1, 160, 160))", "small.shape", "torch.Size([1, 160, 160])", "shape"),
    Printed("003 cv2:93", "torch.FloatTensor(image_new)", "small.shape", "torch.Size([1, 160, 160])", "shape"),
    Printed(
        "003 60 minutes:152",
        "torch.zeros(5, 3, dtype=torch.long)",
        "jnp.zeros((5, 3), jnp.int64)",
        "tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])",
        x64=True,
    ),
    Printed(
        "003 60 minutes:166",
        "torch.tensor([5.5, 3])",
        "jnp.array([5.5, 3])",
        "tensor([5.5000, 3.0000])",
        "digits",
    ),
    Printed(
        "003 60 minutes:179",
        "x.new_ones(5, 3, dtype=torch.double)",
        "jnp.ones((5, 3), jnp.float64)",
        "tensor([[1., 1., 1.], [1., 1., 1.], [1., 1., 1.], [1., 1., 1.], [1., 1., 1.]], dtype=torch.float64)",
        x64=True,
    ),
    Printed("003 60 minutes:195", "x.size()", "x.shape", "torch.Size([5, 3])", "shape"),
    Printed(
        "003 60 minutes:264",
        "x[:, 1]",
        "x[:, 1]",
        "tensor([-0.6769,  0.7683, -0.5566,  0.3566, -0.6741])",
        "digits",
    ),
    Printed("003 60 minutes:276", "x.size()", "jnp.zeros((4, 4)).shape", "torch.Size([4, 4])", "shape"),
    Printed("003 60 minutes:276", "x.view(16)", "jnp.zeros((4, 4)).reshape(16).shape", "torch.Size([16])", "shape"),
    Printed(
        "003 60 minutes:276", "x.view(-1, 8)", "jnp.zeros((4, 4)).reshape(-1, 8).shape", "torch.Size([2, 8])", "shape"
    ),
    Printed(
        "003 60 minutes:287",
        "x, from x.item()",
        "jnp.array([0.0445479191839695])",
        "tensor([0.0445])",
        "digits",
    ),
    Printed("003 60 minutes:306", "torch.ones(5)", "jnp.ones(5)", ONES),
    Printed("003 60 minutes:312", "a.numpy()", "np.asarray(jnp.ones(5))", "[1. 1. 1. 1. 1.]"),
    Printed("003 60 minutes:319", "a.add_(1)", "jnp.ones(5) + 1", TWOS),
    Printed("003 60 minutes:320", "b", "np.asarray(jnp.ones(5) + 1)", "[2. 2. 2. 2. 2.]"),
    Printed("003 60 minutes:334", "np.add(a, 1, out=a)", "np.asarray(jnp.ones(5) + 1)", "[2. 2. 2. 2. 2.]"),
    Printed(
        "003 60 minutes:335",
        "b",
        "jnp.asarray(np.ones(5)) + 1",
        "tensor([2., 2., 2., 2., 2.], dtype=torch.float64)",
        x64=True,
    ),
    Printed(
        "003 60 minutes:353",
        "x + 1, from the printed x",
        "jnp.array([0.0445479191839695]) + 1",
        "tensor([1.0445], device='cuda:0')",
        "digits",
    ),
    Printed(
        "003 60 minutes:354",
        "(x + 1).to(torch.double)",
        "(jnp.array([0.0445479191839695], jnp.float32) + 1).astype(jnp.float64)",
        "tensor([1.0445], dtype=torch.float64)",
        "digits",
        x64=True,
    ),
    Printed("003 60 minutes:380", "x", "ones", "tensor([[1., 1.], [1., 1.]], requires_grad=True)"),
    Printed("003 60 minutes:389", "x + 2", "ones + 2", "tensor([[3., 3.], [3., 3.]], grad_fn=<AddBackward0>)"),
    Printed("003 60 minutes:403", "y * y * 3", "z(ones)", "tensor([[27., 27.], [27., 27.]], grad_fn=<MulBackward0>)"),
    Printed("003 60 minutes:404", "z.mean()", "mean(ones)", "tensor(27., grad_fn=<MeanBackward0>)"),
    Printed("003 60 minutes:433", "x.grad", "jax.grad(mean)(ones)", "tensor([[4.5000, 4.5000], [4.5000, 4.5000]])"),
    Printed("003 60 minutes:492", "print(net)", "str(lenet32())", NET),
    Printed("003 60 minutes:511", "len(params)", "len(list(lenet32().parameters()))", "10", "count"),
    Printed("003 60 minutes:512", "params[0].size()", "lenet32().conv1.weight.shape", "torch.Size([6, 1, 5, 5])"),
    Printed(
        "003 60 minutes:523",
        "the size of net(input)",
        "output_shape(lambda: Lenet32(rngs=nnx.Rngs(0)), 1, 1, 32, 32)",
        "torch.Size([1, 10])",
        "shape",
    ),
)
