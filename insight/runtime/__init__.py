"""Support for long-running work: atomic writes, journals, locks, worker processes, progress, machine information."""
