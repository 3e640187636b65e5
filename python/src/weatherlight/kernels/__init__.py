"""Kernels: ONNX files of the kernel profile as modules that train."""
