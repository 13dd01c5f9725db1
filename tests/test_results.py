"""The committed run's tables, from a small metrics folder."""

import json
from pathlib import Path

import pytest

from src.report import results

QUALITY = {"fid": 0.787, "fid_floor": 0.828, "is_mean": 9.705, "is_real": 9.743}
QUALITY |= {"label_agreement": 0.98728, "label_agreement_real": 0.9928}
DOWNSTREAM = {"cas": 0.98587, "cas_std": 0.0008, "cas_real": 0.9922, "cas_real_std": 0.0004}
DOWNSTREAM |= {"labels_behind_synthetic": 50000}
for arm, error in (("pretrained", 0.025), ("scratch", 0.5)):
    DOWNSTREAM |= {f"error_{arm}_1000": error, f"error_{arm}_1000_std": error / 10}
WORTH = {"labels": 1000, "error_scratch": 0.05, "error_semi_supervised": 0.04, "error_guessed_tuned": 0.03}
WORTH |= {"error_synthetic_tuned": 0.02, "error_both_tuned": 0.0123}
AUDIT = {"close": 0.031, "close_low": 0.0257, "close_high": 0.0361}
HEAD = "stage,torch,device,processor,threads\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "memorisation.json").write_text(json.dumps(AUDIT))
    for name, values in {"quality": QUALITY, "downstream": DOWNSTREAM, "worth": WORTH}.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    (folder / "outcome.json").write_text('{"outcome": "converged"}')
    (folder / "environment.csv").write_text(f"{HEAD}evaluate,2.1,cpu,AVX2,2\nfinetune,2.1,cpu,AVX2,2\n")
    (folder / "label_efficiency.csv").write_text(
        "labels,arm,error,std\n10,pretrained,0.0256,0.0143\n10,scratch,0.5158,0.0456\n"
        "1000,pretrained,0.0138,0.0007\n1000,scratch,0.0233,0.0014\n"
    )
    (folder / "scores.csv").write_text(
        "score,mean,low,high,real,noise\nfid,0.787,0.737,0.838,0.828,920.7\nkid,0.0302,0.013,0.0474,0.0795,856.6\n"
        "recall,0.9188,0.9172,0.9204,0.9297,0.0\nlabel_agreement,0.98728,0.98647,0.9881,0.9928,0.1009\n"
    )
    return tmp_path


def test_the_printed_result_is_what_the_summary_prints(root: Path) -> None:
    assert results.printed(root).splitlines() == [
        "```",
        "The GAN run: converged",
        "",
        "Synthetic set                            value    real images",
        "  FID (lower is better)                   0.79           0.83",
        "  Inception score                         9.71           9.74",
        "  labels the extractor agrees with      98.73%         99.28%",
        "  accuracy of a classifier trained on it, tested on real images",
        "                                        98.59%         99.22%",
        "  real labels that went into it         50,000",
        "",
        "Error on real test images            pretrained        from scratch",
        "   1,000 real labels             2.50% ± 0.25%    50.00% ± 5.00%",
        "",
        "The same classifier on 1,000 labels in all, one draw: error",
        "  from scratch on these labels             5.00%",
        "  semi-supervised                          4.00%",
        "  on real images, labels guessed           3.00%",
        "  on the synthetic set                     2.00%",
        "  on both                                  1.23%",
        "```",
    ]


def test_the_worth_starts_without_any_label(root: Path) -> None:
    assert results.worth(root).splitlines() == [
        "| real labels | pretrained | from scratch |",
        "| --- | ---: | ---: |",
        "| 0 | 1.41% ± 0.08% | – |",
        "| 10 | 2.56% ± 1.43% | 51.58% ± 4.56% |",
        "| 1,000 | 1.38% ± 0.07% | 2.33% ± 0.14% |",
        "",
        "*Error on the real test images, mean ± standard deviation over the repetitions. "
        "The run that dvc.lock records, on AVX2, 2 threads.*",
    ]


def test_every_score_stands_beside_that_of_real_images_and_noise(root: Path) -> None:
    assert results.scores(root).splitlines() == [
        "|  | synthetic | real | random pixels |",
        "| --- | ---: | ---: | ---: |",
        "| FID (lower is better) | 0.79 (0.74 to 0.84) | 0.83 | 921 |",
        "| KID (0 is best) | 0.030 (0.013 to 0.047) | 0.080 | 857 |",
        "| recall: real images that lie among synthetic ones | 91.9% (91.7 to 92.0%) | 93.0% | 0.0% |",
        "| labels that the extractor agrees with | 98.73% (98.65 to 98.81%) | 99.28% | 10.09% |",
        "| CAS: accuracy on real images of a classifier trained on them "
        "| 98.59% ± 0.08% | 99.22% ± 0.04% |  |",
        "| closer to a training image than 95% of new real images | 3.1% (2.6 to 3.6%) | 5% |  |",
        "",
        "*The run that dvc.lock records, on AVX2, 2 threads.*",
    ]


def test_two_kinds_of_processor_are_both_named(root: Path) -> None:
    (root / "metrics/environment.csv").write_text(
        f"{HEAD}evaluate,2.1,cpu,AVX2,2\nfinetune,2.1,cpu,AVX512,2\n"
    )
    assert results.worth(root).endswith(
        "The run that dvc.lock records, on AVX2, 2 threads and on AVX-512, 2 threads.*"
    )
