"""Training: the state, the pure steps, and the loop that dispatches them."""

from .batches import Batches as Batches
from .dispatch import Dispatch as Dispatch
from .dispatch import choose_dispatch as choose_dispatch
from .dispatch import compile_function as compile_function
from .history import History as History
from .loop import Progress as Progress
from .loop import evaluate as evaluate
from .loop import fit as fit
from .state import Batch as Batch
from .state import Totals as Totals
from .state import TrainState as TrainState
from .state import create_state as create_state
from .state import empty_totals as empty_totals
from .step import Task as Task
from .step import eval_step as eval_step
from .step import graphs as graphs
from .step import loss_and_gradients as loss_and_gradients
from .step import make_task as make_task
from .step import train_step as train_step
