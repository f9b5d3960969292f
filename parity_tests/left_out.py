"""What torch.nn has and jaxport.nn has not, each name with its reason; docs/nn.md shows this table."""

LAZY = "a lazy module takes its sizes from its first input; here every array exists from the start: give the sizes"
INPLACE = "JAX arrays are immutable: use the function without the underscore"
DEPRECATED_INIT = "deprecated spelling in PyTorch: use the one with the underscore"
INTERNAL = "a helper of PyTorch's own dispatch, not a function of arrays"
ALIAS = "an internal alias in PyTorch"
LOW_PRECISION = "matrix products in CUDA's scaled low-precision formats; no layer of torch.nn uses it"

MODULES = {
    **{
        f"Lazy{name}": LAZY
        for name in [
            "BatchNorm1d",
            "BatchNorm2d",
            "BatchNorm3d",
            "Conv1d",
            "Conv2d",
            "Conv3d",
            "ConvTranspose1d",
            "ConvTranspose2d",
            "ConvTranspose3d",
            "InstanceNorm1d",
            "InstanceNorm2d",
            "InstanceNorm3d",
            "Linear",
        ]
    },
    "Container": "deprecated in PyTorch: use Module",
    "NLLLoss2d": "deprecated in PyTorch: use NLLLoss",
    "DataParallel": "copies a module to threads; data parallelism in JAX is a sharded batch under jit",
}

FUNCTIONS = {
    **dict.fromkeys(["celu_", "elu_", "hardtanh_", "leaky_relu_", "relu_", "rrelu_", "selu_", "threshold_"], INPLACE),
    **dict.fromkeys(
        [
            "assert_int_or_pair",
            "boolean_dispatch",
            "has_torch_function",
            "has_torch_function_unary",
            "has_torch_function_variadic",
        ],
        INTERNAL,
    ),
    "native_channel_shuffle": ALIAS + " of channel_shuffle",
    "grouped_mm": "a kernel for mixtures of experts, used by no layer of torch.nn: jax.lax.ragged_dot is its like",
    "scaled_mm": LOW_PRECISION,
    "scaled_grouped_mm": LOW_PRECISION,
}

INIT = dict.fromkeys(
    [
        "constant",
        "dirac",
        "eye",
        "kaiming_normal",
        "kaiming_uniform",
        "normal",
        "orthogonal",
        "sparse",
        "uniform",
        "xavier_normal",
        "xavier_uniform",
    ],
    DEPRECATED_INIT,
)
