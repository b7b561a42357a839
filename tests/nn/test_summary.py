"""The summary table, counted by hand."""

import pytest

from chainrule import nn


def test_counts_by_hand():
    table = nn.summary(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    )
    assert [(row.name, row.type) for row in table.rows] == [
        ("0", "Linear"),
        ("1", "BatchNorm1d"),
        ("2", "ReLU"),
        ("3", "Linear"),
    ]
    assert [row.output_width for row in table.rows] == [8, 8, 8, 3]
    assert [row.parameters for row in table.rows] == [4 * 8 + 8, 2 * 8, 0, 8 * 3]
    assert [row.multiply_adds for row in table.rows] == [4 * 8, 0, 0, 8 * 3]
    assert table.parameters == 80
    assert table.multiply_adds == 56


def test_residual_by_hand():
    table = nn.summary(nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(4, 6), nn.Tanh())), nn.Linear(6, 1)))
    assert [(row.name, row.type, row.output_width, row.parameters) for row in table.rows] == [
        ("0.body.0", "Linear", 6, 30),
        ("0.body.1", "Tanh", 6, 0),
        ("0.projection", "Linear", 6, 24),
        ("0", "Residual (sum)", 6, 0),
        ("1", "Linear", 1, 7),
    ]
    assert (table.parameters, table.multiply_adds) == (61, 24 + 24 + 6)


def test_table():
    lines = str(nn.summary(nn.Sequential(nn.Linear(1000, 1000), nn.ReLU()))).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "shape", "parameters", "multiply-adds"]
    assert lines[2].split() == ["0", "Linear", "(n,", "1000)", "1,001,000", "1,000,000"]
    assert lines[-1].split() == ["total", "1,001,000", "1,000,000"]
    assert len({len(line) for line in lines}) == 1
    assert repr(nn.summary(nn.Linear(1, 1))) == str(nn.summary(nn.Linear(1, 1)))


def test_a_shared_layer_computes_twice_but_has_its_parameters_once():
    shared = nn.Linear(3, 3)
    table = nn.summary(nn.Sequential(shared, shared))
    assert (table.parameters, table.multiply_adds) == (12, 18)


def test_a_module_of_the_users_own_is_one_row():
    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 5)

        def forward(self, x):
            return self.inner(x)

    table = nn.summary(nn.Sequential(nn.Linear(2, 3), Custom(), nn.ReLU(), nn.Linear(5, 1)))
    assert [row.output_width for row in table.rows] == [3, None, None, 1]
    assert (table.rows[1].parameters, table.rows[1].multiply_adds) == (20, 15)
    assert table.multiply_adds == 6 + 15 + 5
    assert "(n, ?)" in str(table)


def test_number_of_inputs():
    assert nn.summary(nn.Sequential(nn.ReLU()), n_inputs=7).rows[0].output_width == 7
    with pytest.raises(ValueError, match="n_inputs must be given: this network takes any number of columns"):
        nn.summary(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"module 0: Linear\(in_features=4.* takes 4 columns; got 5"):
        nn.summary(nn.Sequential(nn.Linear(4, 2)), n_inputs=5)
    with pytest.raises(ValueError, match="n_inputs must be a positive integer; got 0"):
        nn.summary(nn.Linear(4, 2), n_inputs=0)
    with pytest.raises(TypeError, match="module must be a Module; got str"):
        nn.summary("net")
