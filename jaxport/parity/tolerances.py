"""The only place where tolerances stand. Nobody loosens one to make a check pass: a float64 mismatch is a bug."""

FLOAT64_RTOL = 1e-10
"""Largest difference over the tensor's largest magnitude, in float64: it decides whether two programs mean the same."""

SAME_SUMS_RTOL = 1e-12
"""The same few sums in float64, in another order at most: what a single layer on tiny arrays is held to."""

FREE_RUN_LOSS_RTOL = 1e-10
"""Losses of free-running training in float64."""

FREE_RUN_PARAMETER_RTOL = 1e-8
"""Parameters of free-running training in float64, where adaptive optimisers amplify rounding."""

OWN_RUNS = 2
"""A free run may also drift by FLOAT32_FACTOR times what PyTorch shows beside itself: the largest drift of any tensor
of that kind so far, over this many runs in float64 from weights whose last bits are changed at random.

It matters where training itself is chaotic. Measured on `resnet` (batches of 7 small pictures, so that a channel of
the last stage is normalised over 7 numbers; SGD with momentum): in 4 steps PyTorch is 5e-10 from itself and we are
4e-10 from it, in 20 steps 3e-6 and 2e-6. Steps from the same state keep FLOAT64_RTOL.
"""

CANCELLED = 1e-6
"""Up to this, a difference in float64 may be PyTorch's own rounding where terms cancel, and is held against that.

Measured: the gradient of a bias in front of BatchNorm behind a residual scaled by 1e-6: 2e-9 to 7e-9. Of a gradient, a
difference of ZERO_GRADIENT of what was differentiated may be too: of a scale in front of two BatchNorms, whose gradient
is 3e-10 where the loss is 8, the last bit is 1e-6 of it.
"""

FLOAT32_COARSER = 2.0**29
"""How many times as coarsely float32 rounds: what cancels in float64 cancels in float32."""

FLOAT32_ALONE = 100.0
"""Where only float32 was run, more than this many limits are no rounding: different, not suspicious."""

CLEARLY = 1e-3
"""Another order of axes, or another layout, is taken if it makes all but this share of the difference go away."""

OWN_SHARE = 0.25
"""Where only float32 was run, an error arises in a layer if, alone, it makes at least this share of it."""

ZERO_GRADIENT = 1e-12
"""A gradient this small, in units of the loss, is zero but for rounding (a bias in front of BatchNorm), in float64."""

ZERO_GRADIENT_STEP = 1e-3
"""What such a gradient may move its parameter apart in one step, in units of the learning rate, in float64.

Adam divides by the gradient's own size plus 1e-8: of a gradient that is ZERO_GRADIENT of a loss of 10 it makes a step
of 1e-12 · 10 / 1e-8 of the rate. A gradient that is not zero gives a step of 1. Measured on `mnist_convnet`: 6e-7.
"""

FLOAT32_FACTOR = 4.0
"""In float32 the difference to the float64 truth may be this many times PyTorch's own."""

FLOAT32_FLOOR = 1e-7
"""What is added to the float32 limit, in units of the tensor's largest magnitude: about one rounding."""

ROUNDING_DRAWS = 8
"""PyTorch's own float32 error is the largest over this many further runs, each input's last bit changed at random.

One run is a single draw of the rounding errors, and of a scalar (a loss, the gradient of one bias) it may happen to be
next to zero. Measured on `titanic`, seeds 0 to 5: against one run, 1 to 4 of 332 correct tensors exceeded the limit in
every seed. Inputs are the weights, the optimiser's tensors and the examples. In a training step the examples are in
another order too: of a mean over few numbers, last bits alone may round to one and the same float32 in every run.
"""

KINK_MARGIN = 2e-6
"""Inputs are drawn again until no maximum and no ReLU is this close (of scale) to a tie: 16 roundings of float32.

Closer than that, float32 may take the other side of a kink in either framework: the gradients differ by whole terms.
"""

BIAS_CORRECTION = 2.0**-24 / (1.0 - 0.999)
"""What a parameter may be off after a step in float32, in units of the learning rate, beside the other limits.

Of optax's optimisers: Adam takes 1 - 0.999^t in float32, where 0.001 is known to that much; PyTorch in float64.
Measured: a bias that starts at zero, one step of optax.adam, is 6.8e-6 of its size off, ten times PyTorch's rounding.
"""

HALF_FLOOR = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
"""The floor for outputs in half precision, judged by the same factor and draws: one rounding of the dtype."""

OPTIMIZER_RTOL = 1e-12
"""Parameters and optimiser state after each of 20 steps on the same gradients, in float64."""

LBFGS_RTOL = 1e-9
"""The same for each update of LBFGS (up to 20 iterations on gradients of its own), from PyTorch's state before it.

Added to it is what PyTorch itself shows: FLOAT32_FACTOR times its largest change over ROUNDING_DRAWS runs of the update
whose parameters have their last bit changed at random. Measured with lr = 1e-3: the direction changes by 1.4e-8 in one
of 20 updates (the history holds differences of nearly equal gradients), by 1e-12 or less in the others.
"""

SCHEDULE_RTOL = 1e-14
"""Rates and momenta of a schedule in float64, over the largest of the run: 200 steps, each rounded as PyTorch's."""

SCHEDULE_FLOAT32_RTOL = 2.0**-23
"""The same in float32, of each number: two roundings, of the rate that the schedule starts from and of the result."""

SCHEDULE_FLOAT32_FLOOR = 1e-12
"""What is added to that limit, over the largest of the run: 200 roundings of a pair of float32 numbers (2^-48 each)."""

RANDOM_ULPS = 2
"""Float64 normals of jaxport.random, in units in the last place of the largest, where NumPy takes ln, sin and cos from
vector code of its own (AVX-512), PyTorch from the C library. Expected, not measured; elsewhere every bit is equal."""

ORTHOGONAL_ATOL = 1e-6
"""Orthogonal initial values and the first vectors of spectral norms, made of PyTorch's own random numbers in float32:
QR and power iterations round in another order."""

RATCHET_FACTOR = 4.0
"""The tolerance that a tensor requires may be this many times the stored one: the same sums on another machine."""

RATCHET_FLOOR = {"float64": 1e-15, "float32": 1e-7}
"""What is added to that limit: a few roundings, for tensors that were equal to the bit when they were stored."""

CAUSE_RTOL = 1e-6
"""A cause is named if its hypothesis gives the other side's numbers to this, over the largest magnitude."""

CAUSE_SHARE = 0.02
"""And if what then remains is at most this share of the present difference: a small difference needs a closer fit."""
