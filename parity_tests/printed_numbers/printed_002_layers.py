"""20-day tutorial: what print() shows of the networks, layers, losses, and results of printed tensors."""

import jax
import jax.numpy as jnp
import torch
from flax import nnx

from jaxport import nn
from jaxport.data.text import Vocabulary
from jaxport.models.circles_focal import FocalLoss
from jaxport.reference import circles_focal

from .printed_judge import given
from .printed_row import Printed

# What a trained network gave: 0.5 is the border.
PROBABILITIES = """tensor([[0.0119],
        [0.6029],
        [0.2970],
        [0.5717],
        [0.5034],
        [0.8655],
        [0.0572],
        [0.9182],
        [0.5038],
        [0.1739]])"""
CLASSES = """tensor([[0.],
        [1.],
        [0.],
        [1.],
        [1.],
        [1.],
        [0.],
        [1.],
        [1.],
        [0.]])"""
SOME = "tensor([[8.4032e-01], [1.0407e-02], [5.4146e-04], [1.4471e-02], [1.7673e-02], [4.5081e-01]])"
EMBEDDED = """tensor([[[-0.4093, -1.0110,  0.6731,  0.0790],
         [-0.6557, -0.9846, -0.1647,  2.2633],
         [-0.5706, -1.1936, -0.2704,  0.0708]],

        [[-0.6557, -0.9846, -0.1647,  2.2633],
         [-0.5706, -1.1936, -0.2704,  0.0708],
         [ 0.2242, -0.5989,  0.4237,  2.2405]]], grad_fn=<EmbeddingBackward>)"""
vectors = given(EMBEDDED)
hard, easy, truth = (jnp.array([[p], [q]]) for p, q in ((0.5, 0.5), (0.9, 0.1), (1.0, 0.0)))
scores = jnp.array([[10.0, 0.0, -10.0], [8.0, 8.0, 8.0]])
right = jnp.array([0, 2])
words = Vocabulary.build(["a good film", "a bad one"], "torchtext")


def decided(text: str) -> jax.Array:
    """Return 1 where a printed probability is above one half, else 0."""
    return jnp.where(given(text) > 0.5, 1.0, 0.0)


def embedded() -> jax.Array:
    """Look the words 1, 2, 3 and 2, 3, 4 up in the table of which the tutorial prints the rows 1 to 4."""
    table = jnp.concatenate([jnp.zeros((1, 4)), vectors[0], vectors[1, 2:]])
    layer = nn.Embedding(5, 4, rngs=nnx.Rngs(0))
    layer.weight[...] = table
    return layer(jnp.array([[1, 2, 3], [2, 3, 4]]))


def own_layers() -> nn.Module:
    """The module that holds a parameter, a list and a dictionary of parameters."""
    module = nn.Module()
    module.w = nn.Parameter(jnp.zeros((2, 2)))
    module.params_list = nn.ParameterList([nn.Parameter(jnp.zeros((8, i))) for i in (1, 2)])
    module.params_dict = nn.ParameterDict({"a": nn.Parameter(jnp.zeros((2, 2))), "b": nn.Parameter(jnp.zeros(2))})
    return module


def sizes_of(part: str) -> list[str]:
    """Return the sizes of one part's parameters, as the tutorial writes them."""
    return ["x".join(map(str, one.shape)) for one in getattr(own_layers(), part).parameters()]


def dnn() -> nn.Module:
    """The network of chapter 3-1, made of bare parameters."""
    net = nn.Module()
    for k, (inputs, outputs) in enumerate(((2, 4), (4, 8), (8, 1)), 1):
        setattr(net, f"w{k}", nn.Parameter(jnp.zeros((inputs, outputs))))
        setattr(net, f"b{k}", nn.Parameter(jnp.zeros((1, outputs))))
    return net


def ratio(easy_or_hard: jax.Array, digits: int = 4) -> float:
    """Return focal loss over cross-entropy, each rounded as printed."""
    focal, bce = FocalLoss()(easy_or_hard, truth), nn.BCELoss()(easy_or_hard, truth)
    return round(float(focal), digits) / round(float(bce), digits)


def ratio_torch(sure: float, digits: int = 4) -> float:
    """Return the same by PyTorch, for samples that are judged right with probability `sure`."""
    of_both = torch.tensor([[sure], [1 - sure]]), torch.tensor([[1.0], [0.0]])
    focal, bce = circles_focal.FocalLoss()(*of_both), torch.nn.BCELoss()(*of_both)
    return round(float(focal), digits) / round(float(bce), digits)


ROWS = (
    Printed("002 1-1:650", "y_pred, from the printed y_pred_probs", "decided(PROBABILITIES)", CLASSES),
    Printed(
        "002 1-2:866",
        "nn.AdaptiveMaxPool2d((1, 1))(t).shape",
        "output_shape(lambda: nn.AdaptiveMaxPool2d((1, 1)), 10, 8, 32, 32)",
        "torch.Size([10, 8, 1, 1])",
        "shape",
    ),
    Printed(
        "002 1-2:1200",
        "y_pred, from the six printed y_pred_probs",
        "decided(SOME)",
        "tensor([[1.], [0.], [0.], [0.], [0.], [0.]])",
    ),
    Printed("002 1-3:1355", "TEXT.vocab.itos[0]", "words.words[0]", "<unk>"),
    Printed("002 1-3:1356", "TEXT.vocab.itos[1]", "words.words[1]", "<pad>"),
    Printed("002 1-3:1357", "TEXT.vocab.stoi['<unk>']", 'words.words.index("<unk>")', "0"),
    Printed("002 1-3:1358", "TEXT.vocab.stoi['<pad>']", 'words.words.index("<pad>")', "1"),
    Printed(
        "002 1-3:1386",
        "features.shape",
        'words.encode_batch(["a good film"] * 20, 200).T.shape',
        "torch.Size([200, 20])",
        "shape",
    ),
    Printed("002 3-1:3421", "len(list(model.parameters()))", "len(list(dnn().parameters()))", "6", "count"),
    Printed("002 4-3:5942", "params_list[0]", 'sizes_of("params_list")[0]', "8x1", "shape"),
    Printed("002 4-3:5943", "params_list[1]", 'sizes_of("params_list")[1]', "8x2", "shape"),
    Printed("002 4-3:5960", "params_dict['a']", 'sizes_of("params_dict")[0]', "2x2", "shape"),
    Printed("002 4-3:5961", "params_dict['b']", 'sizes_of("params_dict")[1]', "2", "shape"),
    Printed("002 4-3:6014", "the zeros of params_dict['b']", "own_layers().params_dict['b'][...]", "tensor([0., 0.])"),
    Printed("002 4-3:6016", "number of Parameters", "len(list(own_layers().parameters()))", "5", "count"),
    Printed("002 4-3:6125", "child number", 'len(list(port("imdb").children()))', "3", "count"),
    Printed("002 4-3:6156", "child number", 'len(list(port("imdb").named_children()))', "3", "count"),
    Printed("002 4-3:6209", "module number", 'len(list(port("imdb").modules()))', "13", "count"),
    Printed(
        "002 4-3:6249",
        "param.requires_grad",
        "next(iter(frozen_reviews().embedding.parameters())).requires_grad",
        "False",
    ),
    Printed("002 4-3:6250", "param.numel()", 'port("imdb").embedding.weight.size', "30000", "count"),
    Printed(
        "002 5-1:6960",
        "how many batches of 10 the loop prints, of 49 examples",
        "len(list(DataLoader((np.arange(1, 50),), batch_size=10, shuffle=True, drop_last=True)))",
        "4",
        "count",
    ),
    Printed(
        "002 5-2:7174", "embedding([[1, 2, 3], [2, 3, 4]]), from its printed rows", "embedded()", EMBEDDED, "digits"
    ),
    Printed("002 5-2:7182", "embed.size()", "embedded().shape", "torch.Size([2, 3, 4])", "shape"),
    Printed(
        "002 5-2:7342",
        "output.size()",
        "output_shape(lambda: nn.Linear(20, 30, rngs=nnx.Rngs(0)), 128, 20)",
        "torch.Size([128, 30])",
        "shape",
    ),
    Printed(
        "002 5-3:7398", "nn.CrossEntropyLoss()", "nn.CrossEntropyLoss()(scores, right)", "tensor(0.5493)", "digits"
    ),
    Printed(
        "002 5-3:7399",
        "nn.LogSoftmax and nn.NLLLoss",
        "nn.NLLLoss()(nn.LogSoftmax(1)(scores), right)",
        "tensor(0.5493)",
        "digits",
    ),
    Printed("002 5-3:7501", "focal_loss(hard samples)", "FocalLoss()(hard, truth)", "tensor(0.0866)", "digits"),
    Printed("002 5-3:7502", "bce_loss(hard samples)", "nn.BCELoss()(hard, truth)", "tensor(0.6931)", "digits"),
    Printed("002 5-3:7503", "focal_loss(easy samples)", "FocalLoss()(easy, truth)", "tensor(0.0005)", "digits"),
    Printed("002 5-3:7504", "bce_loss(easy samples)", "nn.BCELoss()(easy, truth)", "tensor(0.1054)", "digits"),
    Printed("002 5-3:7494", "0.0005 / 0.1054", "ratio(easy)", "0.00474", "digits"),
    Printed(
        "002 5-3:7495",
        "0.0866 / 0.6931",
        "ratio(hard)",
        "0.12496",
        "misprint",
        torch="ratio_torch(0.5)",
        reason="0.0866 / 0.6931 is 0.12495; without the rounding of the two it is 0.125",
    ),
)
