"""What lives in the training loop: seeds beside the layers of the host."""
