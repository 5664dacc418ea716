"""The README's picture shows what the builders make today."""

from experiments.variants_picture import PICTURE, draw_variants


def test_the_picture_is_what_its_script_draws() -> None:
    assert PICTURE.read_text() == draw_variants()
