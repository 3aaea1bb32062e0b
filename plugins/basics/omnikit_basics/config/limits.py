"""Checks that several settings share."""


def at_least(least: int, **values: int) -> None:
    """Refuse a value that is smaller, by its name.

    Raises:
        ValueError: one of them is.
    """
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")


def dividing(name: str, value: int, whole: str, size: int) -> None:
    """Refuse a value that does not divide a size.

    Raises:
        ValueError: it leaves a remainder.
    """
    if size % value:
        raise ValueError(f"{name} is {value}, but must divide {whole}, which is {size}")


def fraction(name: str, value: float) -> None:
    """Refuse a value that is not at least 0 and below 1.

    Raises:
        ValueError: it is not.
    """
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value}, but must be at least 0 and below 1")
