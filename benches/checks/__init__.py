"""What the checks cost on every malloc+free pair. Run `python benches/checks`."""
