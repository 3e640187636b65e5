"""Grow a PyTorch network while it trains."""
