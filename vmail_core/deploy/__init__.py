"""From a trained model to a robot: export to ONNX, the bundle, its certificate and the runtime.

`bundle` and `runtime` need numpy and onnxruntime alone; `export` and `certificate` run where torch is.
Import what you need from the submodule, so that a robot's computer never touches the other half.
"""
