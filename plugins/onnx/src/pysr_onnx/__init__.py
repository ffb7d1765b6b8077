"""ONNX files as models of pysr, through ONNX Runtime."""
