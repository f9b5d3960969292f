"""Callbacks: what happens at the seams of training."""

from jaxport.engine.checkpoint import Checkpoint as Checkpoint

from .base import Callback as Callback
from .functions import LambdaCallback as LambdaCallback
from .live_plot import LivePlot as LivePlot
from .logs import CSVLogger as CSVLogger
from .logs import JSONLinesLogger as JSONLinesLogger
from .progress import ProgressBar as ProgressBar
from .rates import LearningRateScheduler as LearningRateScheduler
from .rates import ReduceLROnPlateau as ReduceLROnPlateau
from .stopping import EarlyStopping as EarlyStopping
from .stopping import TerminateOnNaN as TerminateOnNaN
from .tensorboard import TensorBoard as TensorBoard
from .timing import Timing as Timing
from .weights import WeightsCheckpoint as WeightsCheckpoint
