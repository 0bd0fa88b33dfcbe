"""The score of a live service on a folder of labelled images."""

import csv

import pytest
import typer
from PIL import Image

from tests.conftest import png
from tools import accuracy


@pytest.fixture
def manifest(tmp_path, mnist):
    """Ten test digits, one with a wrong label, and a file that is no image."""
    file = tmp_path / "manifest.csv"
    with file.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["path", "label", "source"])
        for index in range(10):
            (tmp_path / f"{index}.png").write_bytes(png(mnist.test.pixels[index].numpy()))
            label = int(mnist.test.labels[index])
            rows.writerow([f"{index}.png", (label + 1) % 10 if index == 3 else label, "mnist"])
        (tmp_path / "text.png").write_text("no image")
        rows.writerow(["text.png", 1, "others"])
    return file


def test_it_counts_by_source_and_shows_what_was_wrong(service, manifest):
    url = f"http://127.0.0.1:{service.port}"
    results = list(accuracy.ask(url, list(accuracy.read_manifest(manifest))))
    mnist, others, mean = list(accuracy.table(results))[2:]
    assert mnist.startswith("| mnist | 10 | 90.00 % | 100.0 % | – | 1→0 1 × |")
    assert others.startswith("| others | 1 | 0.00 % | 0.0 % | 1 not_an_image |")
    assert "45.00 %" in mean
    wrong = [result for result in results if not result.is_correct]
    sheet = accuracy.contact_sheet(wrong)
    assert isinstance(sheet, Image.Image)
    assert sheet.getextrema() == (0, 255)


@pytest.mark.parametrize("row", ["9.png,7", "0.png,12", "0.png,seven", "0.png"])
def test_a_row_that_is_wrong_is_named(tmp_path, row):
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text(f"path,label\n0.png,1\n{row}\n")
    with pytest.raises(typer.BadParameter, match="line 3"):
        list(accuracy.read_manifest(tmp_path / "manifest.csv"))
