"""ONNX Runtime: inference with a graph of ``Gemm`` and ``Relu`` nodes, such as an exporter writes."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from predictor import Predictor
from problem import Weights

# A version of the format that both packages know, whatever their age.
OPERATORS, FORMAT = 17, 8


def make_model(weights: Weights) -> onnx.ModelProto:
    """The ReLU network as an ONNX model from ``X`` to ``z``, any number of rows."""
    nodes, arrays, value = [], [], "X"
    for layer, (W, b) in enumerate(weights):
        last = layer == len(weights) - 1
        arrays += [numpy_helper.from_array(W, f"W{layer}"), numpy_helper.from_array(b, f"b{layer}")]
        output = "z" if last else f"z{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"W{layer}", f"b{layer}"], [output]))
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"h{layer}"]))
            value = f"h{layer}"
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])]
        for name, width in (("X", len(weights[0][0])), ("z", len(weights[-1][1])))
    )
    graph = helper.make_graph(nodes, "network", inputs, outputs, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPERATORS)], ir_version=FORMAT)
    onnx.checker.check_model(model)
    return model


class OnnxPredictor(Predictor):
    """``InferenceSession.run`` on the CPU, with its own choice of threads."""

    distributions = ("onnxruntime", "onnx")

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        self.session = onnxruntime.InferenceSession(
            make_model(weights).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self.feed = {"X": X}

    def call(self) -> np.ndarray:
        return self.session.run(["z"], self.feed)[0]

    def facts(self) -> str:
        return "CPU, its own choice of threads"
