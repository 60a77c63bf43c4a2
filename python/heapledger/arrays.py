"""NumPy arrays over native memory: the only module that imports NumPy, on first use.

An array made here has a `Memory` at the end of its chain of bases. As long as that lives, so does
the block: views of views count too.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapledger.errors import NumpyNotFoundError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    import numpy.typing as npt

    Shape = int | tuple[int, ...] | list[int] | None


class Memory:
    """Writable bytes for NumPy to lay an array over; keeps `owner` alive."""

    __slots__ = ("__array_interface__", "__weakref__", "lent", "owner")

    def __init__(self, address: int, byte_count: int, owner: object, lent: object = None) -> None:
        """Describe `byte_count` bytes from `address`; `lent` ends with this object."""
        self.owner = owner
        self.lent = lent
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (byte_count,),
            "data": (address, False),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """An array that fits: everything that can be wrong was checked."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    byte_count: int


def planned(byte_count: int, dtype: npt.DTypeLike, shape: Shape) -> Plan:
    """Work out the array for `byte_count` bytes.

    Raises:
        UsageError: it does not fit, or holds Python objects.
        NumpyNotFoundError: NumPy is not installed.
    """
    wanted = _numpy().dtype(dtype)
    if wanted.hasobject:
        raise UsageError("native memory cannot hold Python objects")
    if wanted.itemsize == 0:
        raise UsageError(f"the elements of {wanted!r} have no size")
    dimensions = _dimensions(byte_count, wanted.itemsize, shape)
    needed = _product(dimensions) * wanted.itemsize
    if needed > byte_count:
        raise UsageError(
            f"an array of shape {dimensions} and type {wanted} needs {needed} bytes, "
            f"the block has {byte_count}"
        )
    if wanted.subdtype is not None:
        wanted, inner = wanted.subdtype
        dimensions += inner
    return Plan(wanted, dimensions, needed)


def laid_over(memory: Memory, plan: Plan) -> npt.NDArray[Any]:
    """Return the planned array over `memory`, which is large enough."""
    octets = _numpy().asarray(memory)
    array: npt.NDArray[Any] = octets[: plan.byte_count].view(plan.dtype).reshape(plan.shape)
    return array


def _numpy() -> ModuleType:
    try:
        import numpy
    except ImportError as error:
        raise NumpyNotFoundError(
            "arrays need NumPy, which is not installed (`pip install numpy`); "
            "Block.view() gives a memoryview without it"
        ) from error
    return numpy


def _dimensions(byte_count: int, item_bytes: int, shape: Shape) -> tuple[int, ...]:
    """Return `shape` as a tuple, its -1 or its absence filled in from the length."""
    if shape is None:
        if byte_count % item_bytes:
            raise UsageError(
                f"{byte_count} bytes are no whole number of elements of {item_bytes} bytes: "
                f"give a shape"
            )
        return (byte_count // item_bytes,)
    entries = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    dimensions = tuple(operator.index(entry) for entry in entries)
    if any(entry < -1 for entry in dimensions) or dimensions.count(-1) > 1:
        raise UsageError(f"{dimensions} is no shape")
    if -1 not in dimensions:
        return dimensions
    rest = _product(tuple(entry for entry in dimensions if entry != -1)) * item_bytes
    if rest == 0 or byte_count % rest:
        raise UsageError(f"{byte_count} bytes do not fill the shape {dimensions}")
    return tuple(byte_count // rest if entry == -1 else entry for entry in dimensions)


def _product(numbers: tuple[int, ...]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product
