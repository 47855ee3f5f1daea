"""What the library costs, as ratios in one run. No test: figures depend on the machine."""
