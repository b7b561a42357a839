"""A file from a stranger is at worst refused: no crash, no hang, no memory beyond a few times its size."""

import contextlib
import copy
import functools
import json
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.io.saved import models, predicted

import chainrule
from chainrule.io.forms import form_of
from chainrule.io.model_file import pack, unpack
from chainrule.io.models import save_model

NAMES = list(models())
FUZZ = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
# A loaded model may need kernels and tables of its own; more than this no small file has a reason for.
MOST_BYTES = 48_000_000
MOST_SECONDS = 5.0


@functools.cache
def file_of(name):
    """The bytes of a file of each kind of model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        save_model(path, models()[name][0], target="y", information={"rows": 30})
        return path.read_bytes()


def check(data, name, path):
    """Load; whether it was refused. What is not refused predicts, or says why it cannot."""
    path.write_bytes(data)
    _, rows = models()[name]
    tracemalloc.start()
    began = time.monotonic()
    try:
        try:
            loaded = chainrule.load(path)
        except ValueError:
            return True
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")  # a scale of 1e308 overflows
            predicted(getattr(loaded, "estimator", loaded), rows)
        return False
    finally:
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        assert time.monotonic() - began < MOST_SECONDS
        tracemalloc.stop()


# -- bytes -----------------------------------------------------------------------------------------------


@st.composite
def mutations(draw, n):
    """A change of a file's bytes: (kind, place, more)."""
    # As often in the first bytes, which say how long the header is, as in all the others.
    place = draw(st.one_of(st.integers(0, 16), st.integers(0, n - 1)))
    kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "overwrite"]))
    more = draw(st.binary(min_size=1, max_size=12))
    return kind, min(place, n - 1), more


def mutated(data, kind, place, more):
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (more[0] or 1)]) + data[place + 1 :]
    if kind == "cut":
        return data[:place]
    if kind == "insert":
        return data[:place] + more + data[place:]
    if kind == "remove":
        return data[:place] + data[place + len(more) :]
    if kind == "repeat":
        return data[: place + len(more)] + data[place:]
    return data[:place] + more + data[place + len(more) :]


@settings(FUZZ, max_examples=2000)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(tmp_path, data):
    name = data.draw(st.sampled_from(["module", "classifier", "tabular classifier", "perceptron"]))
    whole = file_of(name)
    changed = mutated(whole, *data.draw(mutations(len(whole))))
    assert check(changed, name, tmp_path / "model") == (changed != whole)


# -- content, with a checksum that is right ---------------------------------------------------------------

DEEP: list = []
for _ in range(400):
    DEEP = [DEEP]
WORST = [
    None, True, -1, 0, 1, 3, 10**6, 10**12, 10**400, -0.5, 1e308, float("nan"), float("inf"), "", "x", "nan",
    "0" * 1000, [], [[]], [1, 2], ["a", None], {}, {"tuple": [1]}, {"schedule": ["cosine", {}]}, DEEP,
]  # fmt: skip


def places(value, path=()):
    """The paths to everything in a tree of JSON."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def changed_content(content, path, how, worst):
    content = copy.deepcopy(content)
    parent = content
    for step in path[:-1]:
        parent = parent[step]
    last = path[-1]
    if how == "replace":
        parent[last] = worst
    elif how == "remove":
        del parent[last]
    elif isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
    else:
        parent[f"{last} more"] = parent[last]
    return content


@settings(FUZZ, max_examples=2000)
@given(
    st.sampled_from(NAMES),
    st.integers(0, 10**6),
    st.sampled_from(["replace", "replace", "replace", "remove", "repeat"]),
    st.integers(0, len(WORST) - 1),
)
def test_a_content_that_was_changed_is_refused_or_predicts(tmp_path, name, place, how, worst):
    content, arrays = unpack(file_of(name))
    paths = [path for path in places(content) if path and path[0] != "information"]
    changed = changed_content(content, paths[place % len(paths)], how, WORST[worst])
    try:
        packed = pack(changed, arrays)
    except (ValueError, RecursionError):  # JSON itself cannot hold it
        return
    check(packed, name, tmp_path / "model")


@settings(FUZZ, max_examples=400)
@given(st.data())
def test_arrays_that_were_changed_are_refused_or_predict(tmp_path, data):
    name = data.draw(st.sampled_from(NAMES))
    content, arrays = unpack(file_of(name))
    key = data.draw(st.sampled_from(sorted(arrays)))
    how = data.draw(st.sampled_from(["drop", "rename", "flatten", "widen", "cast", "nan", "empty", "more"]))
    array = arrays.pop(key)
    new = {
        "drop": {}, "rename": {key + "x": array}, "flatten": {key: array.ravel()[:, None]},
        "widen": {key: np.repeat(np.atleast_1d(array), 2, axis=-1)}, "nan": {key: array * np.float32("nan")},
        "cast": {key: array.astype(np.int64)}, "empty": {key: array.ravel()[:0]},
        "more": {key: array, "more": array},
    }[how]  # fmt: skip
    refused = check(pack(content, arrays | new), name, tmp_path / "model")
    assert refused or how in ("nan", "flatten", "cast")


# -- headers by hand --------------------------------------------------------------------------------------


def with_header(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((2**63).to_bytes(8, "little") + b"{}", "cut short"),
        ((2**64 - 1).to_bytes(8, "little") + b"{" * 100, "cut short"),
        (with_header({"w": {**ENTRY, "shape": [10**12]}}, bytes(8)), "is not described|not that long"),
        (with_header({"w": {**ENTRY, "shape": [2**62, 4]}}, bytes(8)), "not that long"),
        (with_header({"w": {**ENTRY, "shape": [-2]}}, bytes(8)), "not that long"),
        (with_header({"w": {**ENTRY, "shape": [2.0]}}, bytes(8)), "not that long"),
        (with_header({"w": {**ENTRY, "dtype": "F4"}}, bytes(8)), "not described"),
        (with_header({"w": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)), "not that long"),
        (
            with_header({"w": ENTRY, "v": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
            "one behind the other",
        ),
        (
            with_header({"w": ENTRY, "v": {**ENTRY, "data_offsets": [16, 24]}}, bytes(24)),
            "one behind the other",
        ),
        (with_header({"w": ENTRY}, bytes(9)), "followed by other bytes"),
        (with_header({"w": ENTRY}, bytes(7)), "cut short"),
        (with_header(b'{"w": 1, "w": 2}'), "a name comes twice"),
        (with_header(b"[" * 100_000), "its header is damaged"),
        (with_header({"__metadata__": {"chainrule": "[" * 100_000}}), "its description is damaged"),
        (with_header({"__metadata__": {"chainrule": '{"a": 1, "a": 2}'}}), "its description is damaged"),
        (with_header({"__metadata__": {"chainrule": "9" * 5000}}), "its description is damaged"),
        (with_header({"__metadata__": {"chainrule": 7}}), "damaged"),
        (with_header({"__metadata__": 7}), "not one that chainrule wrote|damaged"),
    ],
)
def test_a_header_that_lies_is_refused(data, message, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        chainrule.load(path)


def test_a_file_names_the_form_of_its_model():
    for name in NAMES:
        content, _ = unpack(file_of(name))
        assert content["estimator"] == form_of(models()[name][0])[0]
