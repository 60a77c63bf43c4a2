"""Instructions of the hot path: a busy machine counts what an idle one does (callgrind).

Run `python benches/instructions`.
"""
