"""What a component's configuration reads from the folder that its `weights` names: values of its own fields."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FolderValue:
    """What a checkpoint's folder states for one field.

    Args:
        value: as the field holds it.
        place: file and key, for messages.
        fixed: another value of a recipe contradicts the weights; False: a default, which a recipe may replace.
        at_most: a smaller value of a recipe contradicts nothing.
    """

    value: object
    place: str
    fixed: bool = True
    at_most: bool = False

    def contradicts(self, given: object) -> bool:
        """Say whether a recipe's value cannot be meant for these weights."""
        if not self.fixed or same(given, self.value):
            return False
        numbers = isinstance(given, int | float) and isinstance(self.value, int | float)
        return not (self.at_most and numbers and given <= self.value)  # type: ignore[operator]  # both are numbers


def same(given: object, found: object) -> bool:
    """Say whether two values of a field are one, whatever holds them."""
    if isinstance(given, list | tuple) and isinstance(found, list | tuple):
        return list(given) == list(found)
    return given == found and isinstance(given, bool) == isinstance(found, bool)
