"""What `pytest --heapledger` costs a test suite."""
