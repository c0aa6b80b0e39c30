"""The states of a run, as the code has them, are those that the docs describe."""

from conftest import ROOT
from mlflow.entities import RunStatus

from mnist_gan.tracking.states import State, table


def test_every_state_of_mlflow_has_its_event() -> None:
    assert {state.name for state in State} == set(map(RunStatus.to_string, RunStatus.all_status()))


def test_the_docs_print_the_table() -> None:
    assert table() in (ROOT / "docs/operations.md").read_text()
