"""What runs beside the training loop: reports leave, orders and kernels arrive."""
