"""Nouns that agree with their number."""


def plural(noun: str) -> str:
    """Return the plural of a regular noun: "boxes" of "box"."""
    return f"{noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 box", "2 boxes"."""
    return f"{count} {noun if count == 1 else plural(noun)}"
