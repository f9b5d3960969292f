"""Metrics that add up over batches: `init` a state, `update` it with each batch, `compute` the value over all of them.

The functions are pure and their states have a fixed shape and dtype, so they run inside `jax.jit` and `jax.lax.scan`.
Counts are integers (int32; int64 when x64 is on) and exact however the examples are divided into batches. Sums are
float32 (float64 when x64 is on) and compensated: they carry the rounding error of each addition along. A metric that
needs all scores at once keeps them: see `Metric`.
"""

from .auc import BinaryAUC as BinaryAUC
from .auc import Scores as Scores
from .classification import Accuracy as Accuracy
from .classification import BinaryAccuracy as BinaryAccuracy
from .classification import TopKAccuracy as TopKAccuracy
from .confusion import F1 as F1
from .confusion import Average as Average
from .confusion import Confusion as Confusion
from .confusion import Precision as Precision
from .confusion import Recall as Recall
from .dice import Dice as Dice
from .dice import Overlap as Overlap
from .means import Mean as Mean
from .means import MeanAbsoluteError as MeanAbsoluteError
from .means import MeanAbsolutePercentageError as MeanAbsolutePercentageError
from .means import MeanSquaredError as MeanSquaredError
from .means import Perplexity as Perplexity
from .means import RootMeanSquaredError as RootMeanSquaredError
from .r2 import Moments as Moments
from .r2 import R2Score as R2Score
from .state import Count as Count
from .state import Metric as Metric
from .state import Sum as Sum
