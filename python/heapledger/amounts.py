"""Amounts in words."""

from __future__ import annotations


def amounts_text(blocks: int, byte_count: int) -> str:
    """Return "3 blocks, 1,200 bytes"."""
    return f"{counted(blocks, 'block')}, {counted(byte_count, 'byte')}"


def counted(number: int, noun: str) -> str:
    """Return "1 block" or "1,200 blocks"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
