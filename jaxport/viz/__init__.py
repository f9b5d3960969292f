"""What a model is and how its training went, as text, tables and pictures."""

from .history import plot_history as plot_history
from .points import plot_classes as plot_classes
from .points import plot_fit as plot_fit
from .samples import show_predictions as show_predictions
from .samples import show_samples as show_samples
from .summary import Summary as Summary
from .summary import summary as summary
from .table import write_csv as write_csv
