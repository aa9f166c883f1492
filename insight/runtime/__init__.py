"""What long-running work on files needs: atomic writes, journals, locks, worker processes, facts about the machine."""
