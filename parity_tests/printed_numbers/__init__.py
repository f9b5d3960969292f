"""Every number that the five tutorials print and that does not depend on an unseeded draw, as data.

`ALL` has each row with the module that holds it. `printed_row` says what a row is, `printed_judge` how it is judged.
"""

from . import (
    printed_000,
    printed_001,
    printed_002_autograd,
    printed_002_building,
    printed_002_creating,
    printed_002_data,
    printed_002_joining,
    printed_002_layers,
    printed_002_maths,
    printed_002_networks,
    printed_002_tables,
    printed_002_tensors,
    printed_003,
    printed_004,
)

MODULES = (
    printed_000,
    printed_001,
    printed_002_tensors,
    printed_002_autograd,
    printed_002_creating,
    printed_002_joining,
    printed_002_maths,
    printed_002_layers,
    printed_002_tables,
    printed_002_networks,
    printed_002_building,
    printed_002_data,
    printed_003,
    printed_004,
)
ALL = sorted(
    ((module, row) for module in MODULES for row in module.ROWS), key=lambda pair: (pair[1].tutorial, pair[1].line)
)
