"""The sections of the book: each module has one function ``section(effort)``, found by its name."""
