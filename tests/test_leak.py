"""Training images planted in a clean set are found, and a clean set is not accused."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, write_set

from benchmarks import leak
from src.core import files


def test_only_ink_becomes_brighter() -> None:
    pixels = torch.tensor([0, 1, 100, 254, 255], dtype=torch.uint8)
    assert leak.brighter(pixels, 3).tolist() == [0, 4, 103, 255, 255]
    assert torch.equal(leak.brighter(pixels, 0), pixels)


def test_what_is_planted_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "set", 1600, 10)
    text = (ROOT / "params.yaml").read_text().replace("validation: 10000", "validation: 800")
    text = text.replace("images: 10000 ", "images: 800 ")  # evaluate's, which must fit
    text = text.replace("threads: 2 ", "threads: 1 ")
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.chdir(tmp_path)
    leak.main(["--real", "set", "--output", "leak.csv"])
    rows = {(row["planted"], row["brighter"]): row for row in files.read_csv(Path("leak.csv"))}
    assert len(rows) == 9
    clean, exact, disguised = rows["0", "0"], rows["0.1", "0"], rows["0.1", "3"]
    assert (clean["memorised"], exact["memorised"], disguised["memorised"]) == ("0", "1", "1")
    assert float(exact["copies"]) == 0.1
    assert float(disguised["copies"]) == float(clean["copies"]) == 0
    assert float(exact["close"]) - float(clean["close"]) == pytest.approx(0.1, abs=0.02)
