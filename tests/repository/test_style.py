"""The style sheets of the page take sizes of type, and spacing, from one scale."""

import re

import pytest

from tests.conftest import ROOT

SHEETS = sorted((ROOT / "app" / "web" / "page" / "style").glob("*.css"))
SPACING = re.compile(r"(?<![\w-])(?:margin|padding|gap)[\w-]*:([^;}]+)")


def found_in(sheet, pattern):
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
    return [found.strip() for found in re.findall(pattern, text)]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_each_font_size_is_a_token(sheet):
    sizes = found_in(sheet, r"(?<![\w-])font-size:([^;}]+)")
    assert [size for size in sizes if not re.fullmatch(r"var\(--text-\w+\)", size)] == []
    fonts = found_in(sheet, r"(?<![\w-])font:([^;}]+)")
    assert [font for font in fonts if font != "inherit" and "var(--text-" not in font] == []


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_spacing_of_over_two_pixels_is_a_token(sheet):
    raw = [size for each in found_in(sheet, SPACING) for size in re.findall(r"[\d.]+rem", each)]
    # 0.125rem is a hair, and 1.5rem the width of a column that an indent repeats.
    assert set(raw) <= {"0.125rem", "1.5rem"}
