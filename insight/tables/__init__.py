"""Tables and figures of results, each described by a file in configs/tables/."""

from .spec import Column, Pictures, Plot, Row, Table, read_table, table_setups

__all__ = ["Column", "Pictures", "Plot", "Row", "Table", "read_table", "table_setups"]
