"""The kinds of findings. Imports nothing, so that who only reads options need not import more."""

from __future__ import annotations

FINDING_KINDS = (
    "leak",
    "double-free",
    "invalid-free",
    "mismatched-free",
    "use-after-free",
    "heap-overflow",
    "heap-underflow",
    "realloc-after-free",
    "size-overflow",
    "truncated-pointer",
)
"""Every kind of finding, in the order of their numbers in the C interface."""
