"""The chapters that are not one model, first half: what examples/ holds beside the ports. Data for the tests."""

CHAPTERS_A = (
    "tensors",
    "tensor_structure",
    "tensor_maths",
    "autograd",
    "graph",
    "modules",
    "layers",
    "losses",
)
