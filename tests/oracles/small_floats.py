# SPDX-License-Identifier: Apache-2.0
"""Floats that NumPy lacks, as tables of all their values: BF16, E4M3 (no infinities), E2M1, E8M0.

The one idea: rounding is looking for the nearest of all values, of two equally near ones the one with
an even code. OCP's "8-bit Floating Point Specification" and "Microscaling Formats (MX) Specification"
say what the codes mean."""

import numpy

E2M1 = numpy.array([0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6], "f4")
E2M1[8] = -0.0


def _e4m3():
    codes = numpy.arange(256)
    exponent, mantissa = codes >> 3 & 15, (codes & 7).astype("f8")
    size = numpy.where(exponent, (1 + mantissa / 8) * 2.0 ** (exponent - 7), mantissa / 8 * 2.0 ** -6)
    values = numpy.where(codes & 128, -size, size)
    values[[127, 255]] = numpy.nan
    return values.astype("f4")


E4M3 = _e4m3()


def _nearest(values, sizes):
    """Codes of the nearest of ascending sizes, whose codes are their places."""
    wide, sizes = numpy.abs(values).astype("f8"), sizes.astype("f8")
    above = numpy.clip(numpy.searchsorted(sizes, wide), 1, len(sizes) - 1)
    low, high = wide - sizes[above - 1], sizes[above] - wide
    return numpy.where((high < low) | ((high == low) & (above % 2 == 0)), above, above - 1)


def to_e4m3(values):
    """Of what is over 448 the largest there is."""
    return (_nearest(values, E4M3[:127]) | numpy.signbit(values) << 7).astype("u1")


def to_e2m1(values):
    return (_nearest(values, E2M1[:8]) | numpy.signbit(values) << 3).astype("u1")


def from_e8m0(codes):
    return numpy.ldexp(numpy.float32(1), codes.astype("i4") - 127).astype("f4")


def from_bf16(codes):
    return (codes.astype("u4") << 16).view("f4")


def to_bf16(values):
    bits = values.astype("f4").view("u4")
    rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    return numpy.where(numpy.isnan(values), 0x7fc0, rounded).astype("u2")


def decode(array, dtype):
    """Codes of a data type as float32."""
    if dtype == "BF16":
        return from_bf16(array)
    if dtype == "F8_E4M3":
        return E4M3[array]
    return array.view({"F32": "f4", "F16": "f2", "F64": "f8"}[dtype]).astype("f4")


def encode(values, dtype):
    """float32 as codes of a data type, unsigned integers."""
    if dtype == "BF16":
        return to_bf16(values)
    if dtype == "F8_E4M3":
        return to_e4m3(values)
    return values.astype("f4").astype({"F32": "f4", "F16": "f2"}[dtype]).view(
        {"F32": "u4", "F16": "u2"}[dtype])


def halves(packed):
    """Two codes of each byte, the low half first."""
    return numpy.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def packed(codes):
    pairs = codes.reshape(*codes.shape[:-1], -1, 2)
    return (pairs[..., 0] | pairs[..., 1] << 4).astype("u1")
