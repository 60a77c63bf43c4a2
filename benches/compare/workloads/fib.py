"""Python calls and nothing else. Argument: the number whose Fibonacci number is wanted."""

import sys


def fib(number: int) -> int:
    """Compute a Fibonacci number the slow way."""
    return number if number < 2 else fib(number - 1) + fib(number - 2)


fib(int(sys.argv[1]))
