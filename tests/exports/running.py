"""Running what was exported where it is meant to run."""

import json
import subprocess
import sys

import numpy as np


def functions_of(source):
    """What a source defines."""
    space = {}
    exec(compile(source, "exported.py", "exec"), space)
    return space


def in_a_subprocess(source, x, folder):
    """What the file predicts where neither this library nor anything but NumPy is asked for."""
    (folder / "network.py").write_text(source, encoding="utf-8")
    if is_rows := x.dtype == object:
        (folder / "x.json").write_text(json.dumps(x.tolist()), encoding="utf-8")
    else:
        np.save(folder / "x.npy", x)
    read = "json.load(open(%r))" if is_rows else "np.load(%r)"
    read %= str(folder / ("x.json" if is_rows else "x.npy"))
    code = (
        f"import json, sys; sys.path.insert(0, {str(folder)!r}); import numpy as np, network; "
        f"x = {read}; y = network.predict(x); "
        "p = network.predict_proba(x).tolist() if hasattr(network, 'predict_proba') else None; "
        "unwanted = ('chainrule', 'scipy', 'sklearn', 'numba', 'pandas'); "
        "foreign = [name for name in sys.modules if name in unwanted]; "
        "print(json.dumps([y.tolist(), str(y.dtype), p, foreign]))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def outputs(onnxruntime, model, x):
    """What an ONNX model gives, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": x}), strict=True))
