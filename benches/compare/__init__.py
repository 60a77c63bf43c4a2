"""What heapledger and its peers cost, in one run: `python benches/compare`."""
