"""20-day tutorial, 4-1: creating and cutting tensors; random ones after seed 0."""

import jax.numpy as jnp

from .printed_row import Printed

a = jnp.array([[1.0, 2.0], [3.0, 4.0]])
students = jnp.array([0, 5, 9])
sevens = jnp.arange(27).reshape(3, 3, 3)
MARKS = """tensor([[4, 7, 0, 1, 3],
        [6, 4, 8, 4, 6],
        [3, 4, 0, 1, 2],
        [5, 6, 8, 1, 2],
        [6, 9, 3, 8, 4]], dtype=torch.int32)"""
SEVENS = """tensor([[[ 0,  1,  2],
         [ 3,  4,  5],
         [ 6,  7,  8]],

        [[ 9, 10, 11],
         [12, 13, 14],
         [15, 16, 17]],

        [[18, 19, 20],
         [21, 22, 23],
         [24, 25, 26]]])"""
SCORES = """tensor([[[55, 95,  3, 18, 37, 30, 93],
         [17, 26, 15,  3, 20, 92, 72],
         [74, 52, 24, 58,  3, 13, 24],
         [81, 79, 27, 48, 81, 99, 69],
         [56, 83, 20, 59, 11, 15, 24],
         [72, 70, 20, 65, 77, 43, 51],
         [61, 81, 98, 11, 31, 69, 91],
         [93, 94, 59,  6, 54, 18,  3],
         [94, 88,  0, 59, 41, 41, 27],
         [69, 20, 68, 75, 85, 68,  0]],

        [[17, 74, 60, 10, 21, 97, 83],
         [28, 37,  2, 49, 12, 11, 47],
         [57, 29, 79, 19, 95, 84,  7],
         [37, 52, 57, 61, 69, 52, 25],
         [73,  2, 20, 37, 25, 32,  9],
         [39, 60, 17, 47, 85, 44, 51],
         [45, 60, 81, 97, 81, 97, 46],
         [ 5, 26, 84, 49, 25, 11,  3],
         [ 7, 39, 77, 77,  1, 81, 10],
         [39, 29, 40, 40,  5,  6, 42]],

        [[50, 27, 68,  4, 46, 93, 29],
         [95, 68,  4, 81, 44, 27, 89],
         [ 9, 55, 39, 85, 63, 74, 67],
         [37, 39,  8, 77, 89, 84, 14],
         [52, 14, 22, 20, 67, 20, 48],
         [52, 82, 12, 15, 20, 84, 32],
         [92, 68, 56, 49, 40, 56, 38],
         [49, 56, 10, 23, 90,  9, 46],
         [99, 68, 51,  6, 74, 14, 35],
         [33, 42, 50, 91, 56, 94, 80]],

        [[18, 72, 14, 28, 64, 66, 87],
         [33, 50, 75,  1, 86,  8, 50],
         [41, 23, 56, 91, 35, 20, 31],
         [ 0, 72, 25, 16, 21, 78, 76],
         [88, 68, 33, 36, 64, 91, 63],
         [26, 26,  2, 60, 21,  5, 93],
         [17, 44, 64, 51, 16,  9, 89],
         [58, 91, 33, 64, 38, 47, 19],
         [66, 65, 48, 38, 19, 84, 12],
         [70, 33, 25, 58, 24, 61, 59]]], dtype=torch.int32)"""
CHOSEN = """tensor([[[55, 95,  3, 18, 37, 30, 93],
         [72, 70, 20, 65, 77, 43, 51],
         [69, 20, 68, 75, 85, 68,  0]],

        [[17, 74, 60, 10, 21, 97, 83],
         [39, 60, 17, 47, 85, 44, 51],
         [39, 29, 40, 40,  5,  6, 42]],

        [[50, 27, 68,  4, 46, 93, 29],
         [52, 82, 12, 15, 20, 84, 32],
         [33, 42, 50, 91, 56, 94, 80]],

        [[18, 72, 14, 28, 64, 66, 87],
         [26, 26,  2, 60, 21,  5, 93],
         [70, 33, 25, 58, 24, 61, 59]]], dtype=torch.int32)"""
SUBJECTS = """tensor([[[95, 18, 93],
         [70, 65, 51],
         [20, 75,  0]],

        [[74, 10, 83],
         [60, 47, 51],
         [29, 40, 42]],

        [[27,  4, 29],
         [82, 15, 32],
         [42, 91, 80]],

        [[72, 28, 87],
         [26, 60, 93],
         [33, 58, 59]]], dtype=torch.int32)"""
TF = """<tf.Tensor: shape=(3, 7), dtype=int32, numpy=
array([[52, 82, 66, 55, 17, 86, 14],
       [99, 94, 46, 70,  1, 63, 41],
       [46, 83, 70, 80, 90, 85, 17]], dtype=int32)>"""
LATER = "the generator of seed 0 had drawn more numbers before this cell was run; see test_the_notebooks_later_draws"

ROWS = (
    Printed(
        "002 4-1:4511",
        "torch.tensor([1, 2, 3], dtype=torch.float)",
        "jnp.array([1, 2, 3], jnp.float32)",
        "tensor([1., 2., 3.])",
    ),
    Printed("002 4-1:4522", "torch.arange(1, 10, step=2)", "jnp.arange(1, 10, 2)", "tensor([1, 3, 5, 7, 9])"),
    Printed(
        "002 4-1:4533",
        "torch.linspace(0.0, 2 * 3.14, 10)",
        "jnp.linspace(0.0, 2 * 3.14, 10)",
        "tensor([0.0000, 0.6978, 1.3956, 2.0933, 2.7911, 3.4889, 4.1867, 4.8844, 5.5822, 6.2800])",
        "digits",
    ),
    Printed(
        "002 4-1:4545", "torch.zeros((3, 3))", "jnp.zeros((3, 3))", "tensor([[0., 0., 0.], [0., 0., 0.], [0., 0., 0.]])"
    ),
    Printed(
        "002 4-1:4560",
        "torch.ones((3, 3), dtype=torch.int)",
        "jnp.ones((3, 3), jnp.int32)",
        "tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1]], dtype=torch.int32)",
        x64=True,
    ),
    Printed(
        "002 4-1:4563",
        "torch.zeros_like(a, dtype=torch.float)",
        "jnp.zeros_like(jnp.ones((3, 3), jnp.int32), jnp.float32)",
        "tensor([[0., 0., 0.], [0., 0., 0.], [0., 0., 0.]])",
    ),
    Printed(
        "002 4-1:4576",
        "torch.fill_(b, 5)",
        "jnp.full_like(jnp.zeros((3, 3)), 5)",
        "tensor([[5., 5., 5.], [5., 5., 5.], [5., 5., 5.]])",
    ),
    Printed(
        "002 4-1:4592",
        "10 * torch.rand([5])",
        'stream()["uniform"]',
        "tensor([4.9626, 7.6822, 0.8848, 1.3203, 3.0742])",
        "draw",
    ),
    Printed(
        "002 4-1:4605",
        "torch.normal(zeros, ones)",
        'stream()["normal"]',
        "tensor([[-1.3836, 0.2459, -0.1312], [-0.1785, -0.5959, 0.2739], [ 0.5679, -0.6731, -1.2095]])",
        "notebook",
        torch='stream_torch()["normal"]',
        reason=LATER,
    ),
    Printed(
        "002 4-1:4620",
        "5 * torch.randn((3, 3)) + 2",
        'stream()["scaled"]',
        "tensor([[ 8.7204, 13.9161, -0.8323], [ -3.7681, -10.5115, 6.3778], [-11.3628, 1.8433, 4.4939]])",
        "notebook",
        torch='stream_torch()["scaled"]',
        reason=LATER,
    ),
    Printed(
        "002 4-1:4634",
        "torch.randperm(20)",
        'stream()["permutation"]',
        "tensor([ 5, 15, 19, 10, 7, 17, 0, 4, 12, 16, 14, 13, 1, 3, 9, 6, 18, 2, 8, 11])",
        "notebook",
        torch='stream_torch()["permutation"]',
        reason=LATER,
    ),
    Printed("002 4-1:4650", "torch.eye(3, 3)", "jnp.eye(3, 3)", "tensor([[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]])"),
    Printed(
        "002 4-1:4653",
        "torch.diag(torch.tensor([1, 2, 3]))",
        "jnp.diag(jnp.array([1, 2, 3]))",
        "tensor([[1, 0, 0], [0, 2, 0], [0, 0, 3]])",
    ),
    Printed(
        "002 4-1:4680",
        "torch.floor(10 * torch.rand([5, 5])).int()",
        "marks()",
        MARKS,
        "draw",
    ),
    Printed("002 4-1:4695", "t[0]", "marks()[0]", "tensor([4, 7, 0, 1, 3], dtype=torch.int32)"),
    Printed("002 4-1:4706", "t[-1]", "marks()[-1]", "tensor([6, 9, 3, 8, 4], dtype=torch.int32)"),
    Printed("002 4-1:4718", "t[1, 3]", "marks()[1, 3]", "tensor(4, dtype=torch.int32)"),
    Printed("002 4-1:4719", "t[1][3]", "marks()[1][3]", "tensor(4, dtype=torch.int32)"),
    Printed(
        "002 4-1:4730",
        "t[1:4, :]",
        "marks()[1:4, :]",
        "tensor([[6, 4, 8, 4, 6], [3, 4, 0, 1, 2], [5, 6, 8, 1, 2]], dtype=torch.int32)",
    ),
    Printed(
        "002 4-1:4743", "t[1:4, :4:2]", "marks()[1:4, :4:2]", "tensor([[6, 8], [3, 0], [5, 8]], dtype=torch.int32)"
    ),
    Printed(
        "002 4-1:4761",
        "x.data[1, :] = torch.tensor([0.0, 0.0])",
        "a.at[1, :].set(jnp.array([0.0, 0.0]))",
        "tensor([[1., 2.], [0., 0.]], requires_grad=True)",
    ),
    Printed(
        "002 4-1:4773",
        "torch.arange(27).view(3, 3, 3)",
        "sevens",
        SEVENS,
    ),
    Printed("002 4-1:4794", "a[..., 1]", "sevens[..., 1]", "tensor([[ 1, 4, 7], [10, 13, 16], [19, 22, 25]])"),
    Printed("002 4-1:4814", "torch.floor(100 * torch.rand([4, 10, 7])).int()", "scores()", SCORES, "draw"),
    Printed("002 4-1:4869", "torch.index_select(scores, 1, [0, 5, 9])", "jnp.take(scores(), students, 1)", CHOSEN),
    Printed(
        "002 4-1:4899",
        "index_select(…, 2, [1, 3, 6])",
        "jnp.take(jnp.take(scores(), students, 1), jnp.array([1, 3, 6]), 2)",
        SUBJECTS,
    ),
    Printed(
        "002 4-1:4926",
        "torch.take(scores, [0, 169, 279])",
        "jnp.take(scores(), jnp.array([0, 2 * 70 + 4 * 7 + 1, 3 * 70 + 9 * 7 + 6]))",
        TF,
        "misprint",
        torch="torch.take(torch.from_numpy(np.array(scores())), torch.tensor([0, 169, 279]))",
        reason="an output of TensorFlow, of other numbers and another size, stands there",
    ),
)
