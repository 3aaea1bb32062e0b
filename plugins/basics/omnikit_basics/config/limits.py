"""Checks that several settings share."""


def at_least(least: int, **values: int) -> None:
    """Refuse a value that is smaller, by its name.

    Raises:
        ValueError: one of them is.
    """
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
