"""ONNX export: a bundle as one end-to-end network, from waveform to probabilities."""
