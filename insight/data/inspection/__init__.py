"""What a dataset holds: checks, statistics, foreground ratios."""
