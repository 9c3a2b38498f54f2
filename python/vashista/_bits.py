# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Element types that NumPy lacks."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Bits:
    """An array of a type that NumPy lacks, held as its bits.

    Attributes:
      bits: uint16 of "bf16", uint8 of the types "f8...". Arguments that are
        written in place are written here.
      dtype: the element type, as `Value.dtype` says it.

    Where `ml_dtypes` is installed, `x.bits.view(ml_dtypes.bfloat16)` is the same
    as an array; such arrays are arguments as they are.
    """

    bits: np.ndarray
    dtype: str

    def __post_init__(self):
        if self.dtype != "bf16" and not str(self.dtype).startswith("f8"):
            raise ValueError(f"expected the type bf16 or an f8 type, got {self.dtype}")
        unit = np.uint16 if self.dtype == "bf16" else np.uint8
        if getattr(self.bits, "dtype", None) != unit:
            got = getattr(self.bits, "dtype", type(self.bits).__name__)
            raise ValueError(
                f"expected the bits of {self.dtype} as a {np.dtype(unit)} array, "
                f"got {got}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    def float32(self) -> np.ndarray:
        """The numbers, which f32 holds exactly, as a new array.

        Of bf16, f8E4M3FN and f8E5M2.
        """
        if self.dtype == "bf16":
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        if self.dtype == "f8E5M2":
            return (
                (self.bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
            )
        if self.dtype == "f8E4M3FN":
            return _E4M3FN[self.bits]
        raise ValueError(f"expected bf16, f8E4M3FN or f8E5M2, got {self.dtype}")


def _decode_e4m3fn() -> np.ndarray:
    """The numbers of all 256 bit patterns: 4 exponent bits, no infinity."""
    bits = np.arange(256)
    exponent, fraction = bits >> 3 & 15, bits & 7
    magnitude = np.where(
        exponent > 0,
        (1 + fraction / 8) * 2.0 ** (exponent - 7),
        fraction / 8 * 2.0**-6,
    )
    magnitude[bits & 127 == 127] = np.nan
    return np.where(bits & 128, -magnitude, magnitude).astype(np.float32)


_E4M3FN = _decode_e4m3fn()


def bfloat16(bits: np.ndarray) -> Bits:
    """A uint16 array of bit patterns as an array of bf16, not copied."""
    return Bits(bits, "bf16")


def as_bfloat16(x: np.ndarray) -> Bits:
    """An f32 array rounded to bf16: to nearest, ties to even.

    What is too large becomes infinite, NaN stays NaN. Other types are refused,
    since f64 would be rounded twice.
    """
    x = np.asarray(x)
    if x.dtype != np.float32:
        raise ValueError(f"expected a float32 array, got {x.dtype}")
    bits = np.ascontiguousarray(x).reshape(x.shape).view(np.uint32)
    # Adding carries into the exponent where the fraction is full, as it should.
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    quiet = bits >> 16 | 0x40
    return Bits(np.where(np.isnan(x), quiet, rounded).astype(np.uint16), "bf16")
