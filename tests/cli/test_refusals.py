"""Tables that must be refused, each in one line that says what is wrong and what to do."""

import gzip

import pandas as pd
import pytest
from tests.cli.calling import QUICK, fail, succeed, write


def refuse(tmp_path, text, *options, encoding="utf-8"):
    """What ``train`` says to a table; nothing is written."""
    data = tmp_path / "t.csv"
    data.write_bytes(text.encode(encoding))
    said = fail("train", data, "--target", "y", "--out", tmp_path / "m", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    return said.replace(str(data), "t.csv")


def rows(*lines, header="x,y"):
    return "\n".join((header, *lines)) + "\n"


# -------------------------------------------------------------------------------------- target


@pytest.mark.parametrize("value", ["a", "7", "1.5"])
def test_a_target_with_one_value(tmp_path, value):
    said = refuse(tmp_path, rows(*(f"{i},{value}" for i in range(20))))
    assert said.startswith("target column 'y' has one value only")


def test_a_target_that_names_the_rows(tmp_path):
    said = refuse(tmp_path, rows(*(f"{i},name{i}" for i in range(50))))
    assert said == (
        "target column 'y' looks like an identifier: 50 different values in 50 rows, so that there is "
        "nothing to learn about most of them (if the column holds amounts, give --task regression)"
    )
    nearly = refuse(tmp_path, rows(*(f"{i},name{i % 40}" for i in range(50))))
    assert nearly.startswith("target column 'y' looks like an identifier: 40 different values in 50 rows")


def test_a_target_that_counts_the_rows(tmp_path):
    table = rows(*(f"{(7 * i) % 50},{i + 1000}" for i in range(50)))
    said = refuse(tmp_path, table)
    assert said == (
        "target column 'y' looks like an identifier: it counts the rows, 1000, 1001, 1002 and so on (if it "
        "is what you want to predict, give --task regression)"
    )
    data = write(tmp_path / "t.csv", table)
    succeed("train", data, "--target", "y", "--task", "regression", "--out", tmp_path / "m", *QUICK)


def test_a_target_with_an_infinite_value(tmp_path):
    said = refuse(tmp_path, rows(*(f"{i},{i / 7}" for i in range(20)), "1,inf"))
    assert said == "column 'y' must hold finite numbers, got inf in row 20"


# ------------------------------------------------------------------------------------- columns


def test_a_column_that_is_all_missing(tmp_path):
    said = refuse(tmp_path, rows(*["1,,a", "2,,b"] * 10, header="x,gap,y"))
    assert said == "no value in any row of column 'gap': nothing to learn from, leave it out"


def test_a_column_that_mixes_numbers_and_text(tmp_path):
    table = rows(*(f"{i}.5,{'ab'[i % 2]}" for i in range(30)), "heavy,a")
    said = refuse(tmp_path, table)
    assert said == (
        "column 'x' mixes numbers and text: 30 numbers, but 'heavy' in row 30; correct it, or say --text x "
        "if they are codes, or --drop x"
    )
    data = write(tmp_path / "t.csv", table)
    succeed("train", data, "--target", "y", "--text", "x", "--out", tmp_path / "m", *QUICK)
    assert succeed("predict", tmp_path / "m", data).count("\n") == 32
    assert fail("train", data, "--target", "y", "--text", "z").startswith(
        "--text: the table has no column 'z'"
    )


@pytest.mark.parametrize("codes", [["007", "012", "08x"], ["12", "12", "A4"]])
def test_codes_are_not_mixed_types(tmp_path, codes):
    table = rows(*(f"{codes[i % 3]},{'ab'[i % 2]}" for i in range(30)))
    data = write(tmp_path / "t.csv", table)
    succeed("train", data, "--target", "y", "--out", tmp_path / "m", "--no-report", *QUICK)


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_an_infinite_value(tmp_path, value):
    said = refuse(tmp_path, rows(*["1,a", "2,b"] * 10, f"{value},a"))
    assert said.startswith("column 'x' must hold finite numbers, got ")
    assert "inf in row 20" in said


def test_duplicated_names(tmp_path):
    said = refuse(tmp_path, rows("1,2,a", "3,4,b", header="x,x,y"))
    assert said == "t.csv: the table has more than one column named 'x'"


# ---------------------------------------------------------------------------------------- file


def test_a_row_with_too_many_values(tmp_path):
    said = refuse(tmp_path, rows("1,a", "2,b,3", "3,a"))
    assert said.startswith("t.csv: not a table (")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_row_with_too_few_values(tmp_path, separator):
    lines = ["1,5,a", "2,6,b", "3", "4,7,a"]
    said = refuse(tmp_path, rows(*lines, header="x,z,y").replace(",", separator))
    assert said == (
        "t.csv: not a table (line 4 has 1 value, the header 3 names; a missing value still needs its "
        "separator)"
    )


def test_a_short_row_of_a_compressed_file_and_of_one_to_predict(tmp_path, penguins, model_file):
    lines = penguins.to_csv(index=False).splitlines()
    lines[5] = lines[5].rsplit(",", 2)[0]
    data = tmp_path / "t.csv.gz"
    data.write_bytes(gzip.compress("\n".join(lines).encode()))
    for command in ("predict", "evaluate"):
        assert "line 6 has 6 values, the header 8 names" in fail(command, model_file, data)


def test_missing_values_at_the_end_of_a_row_are_no_short_row(tmp_path):
    table = 'y,x,"last, one"\n' + 'a,1,\nb,"2",\na,3,"4\n"\n' * 10
    data = write(tmp_path / "t.csv", table)
    succeed("train", data, "--target", "y", "--out", tmp_path / "m", "--no-report", *QUICK)


def test_the_wrong_encoding(tmp_path):
    lines = rows(*["1,Zürich", "2,Genf"] * 10)
    for encoding in ("latin-1", "cp1252"):
        said = refuse(tmp_path, lines, encoding=encoding)
        assert said.startswith("t.csv: not a table (")
        assert "utf-8" in said.lower()
    assert refuse(tmp_path, lines, encoding="utf-16").startswith("t.csv: not a table (it is not a text file)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: the file is empty"),
        (" \n\n", "t.csv: the file is empty"),
        ("x,y\n", "the table has no rows to learn from"),
    ],
)
def test_an_empty_file(tmp_path, text, message):
    assert refuse(tmp_path, text) == message


# -------------------------------------------------------------------------------------- predict


def test_missing_columns_are_named_and_extra_and_reordered_ones_are_fine(tmp_path, penguins, model_file):
    changed = penguins[sorted(penguins.columns)].assign(further=1.5)
    changed.to_csv(tmp_path / "fine.csv", index=False)
    penguins.to_csv(tmp_path / "plain.csv", index=False)
    assert succeed("predict", model_file, tmp_path / "fine.csv") == succeed(
        "predict", model_file, tmp_path / "plain.csv"
    )
    assert succeed("evaluate", model_file, tmp_path / "fine.csv", "--json").count('"accuracy"') == 3
    renamed = penguins.rename(columns={"bill_length_mm": "Bill_length_mm"})
    renamed.to_csv(tmp_path / "lacking.csv", index=False)
    for command in ("predict", "evaluate"):
        said = fail(command, model_file, tmp_path / "lacking.csv")
        assert said == (
            "the table lacks column 'bill_length_mm', seen in training, did you mean 'Bill_length_mm'?"
        )


def test_an_infinite_value_to_predict(tmp_path, penguins, model_file):
    pd.concat([penguins.assign(year=float("inf"))]).to_csv(tmp_path / "t.csv", index=False)
    assert fail("predict", model_file, tmp_path / "t.csv") == (
        "column 'year' must hold finite numbers, got inf in row 0"
    )
