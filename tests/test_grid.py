"""The README's picture shows what the builders make today."""

from docs.grid import HERE, draw


def test_the_picture_is_what_its_script_draws() -> None:
    assert (HERE / "grid.svg").read_text() == draw()
