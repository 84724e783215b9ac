"""A bundle as one network and as ONNX."""
