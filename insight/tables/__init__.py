"""Tables and figures of papers, each made of runs that are described in a file of configs/tables/."""

from .make import make_table
from .spec import Column, Pictures, Plot, Row, Table, read_table, table_setups

__all__ = ["Column", "Pictures", "Plot", "Row", "Table", "make_table", "read_table", "table_setups"]
