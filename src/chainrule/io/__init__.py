"""Files in and out: tables as CSV, and a trained model as one file without pickle.

Loading a model never runs code: its file is arrays and JSON, and what the JSON names is looked up in a table
of what can be saved.
"""

from chainrule.atomic_files import write_atomically
from chainrule.io.models import SavedModel, load, load_model, save, save_model
from chainrule.io.tables import read_table

__all__ = [
    "SavedModel",
    "load",
    "load_model",
    "read_table",
    "save",
    "save_model",
    "write_atomically",
]
