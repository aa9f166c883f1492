"""Inspect datasets: checks, statistics, foreground ratios."""
