"""Tables of what benchmarks and single runs found, from small CSV files."""

from pathlib import Path

import pytest

from src.core.errors import PipelineError
from src.report import measured

HERE = '"AVX2, 2 threads",abc1234'
CAPTION = "on AVX2, 2 threads; commit abc1234"


def write(root: Path, name: str, text: str) -> Path:
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / f"{name}.csv").write_text(text.replace("HERE", HERE))
    return root


def test_costs_are_a_table_of_stages_and_one_of_folders_and_a_sentence(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        "costs",
        "stage,seconds,peak_mib,disk_mib,processor,commit\n"
        "download,7.4,38.8,,HERE\ntrain_gan,480.6,953.2,,HERE\ntotal,1081.5,1036.4,,HERE\n"
        "data/,,,105.4,HERE\n.dvc/cache/,,,110.2,HERE\nenvironment,,,5981.3,HERE\n",
    )
    assert measured.cost(root) == (
        "`dvc repro` takes 18 minutes and up to 1,036 MiB of memory, and leaves 216 MiB on disk, beside a "
        f"Python environment of 5,981 MiB (measured {CAPTION})."
    )
    assert measured.costs(root).splitlines() == [
        "| stage | seconds | peak memory, MiB |",
        "| --- | ---: | ---: |",
        "| `download` | 7 | 39 |",
        "| `train_gan` | 481 | 953 |",
        "| `total` | 1,082 | 1,036 |",
        "",
        f"*Measured {CAPTION}. `total` is all of `dvc repro`.*",
        "",
        "| folder | MiB |",
        "| --- | ---: |",
        "| `data/` | 105 |",
        "| `.dvc/cache/` | 110 |",
        "| `environment` | 5,981 |",
        "",
        "*Disk space after that run.*",
    ]


def test_without_an_environment_of_its_own_none_is_counted(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        "costs",
        "stage,seconds,peak_mib,disk_mib,processor,commit\ntotal,90,10,,HERE\ndata/,,,5,HERE\n",
    )
    assert measured.cost(root) == (
        "`dvc repro` takes 2 minutes and up to 10 MiB of memory, and leaves 5 MiB on disk "
        f"(measured {CAPTION})."
    )


def test_costs_that_nobody_has_measured_are_not_made_up(tmp_path: Path) -> None:
    assert measured.cost(tmp_path) == "Time, memory and disk space: not measured yet."
    assert measured.costs(tmp_path) == "Not measured yet."


COMPARED = """\
dataset,recipe,images,seed,processor,commit,images_a_second,own_length,fid_floor,fid_ratio,is_mean,is_real,cas,cas_real,collapsed,diverged,converged
mnist,lsgan,100000,0,HERE,4000,0,0.85,2.4,9.0,10.0,0.972,0.993,0,0,0
mnist,mlp,100000,0,HERE,12500,0,0.85,115.4,8.0,10.0,0.70,0.993,1,0,0
other,lsgan,100000,0,HERE,40000,0,0.2,7.0,9.0,10.0,0.5,0.9,0,1,0
other,wgan,100000,0,HERE,22100,1,0.2,12.0,9.0,10.0,0.5,0.9,0,0,0
mnist,mlp,310000,0,HERE,12500,0,0.85,11.4,9.5,10.0,0.974,0.993,0,0,1
"""


def test_recipes_are_compared_for_equal_images_and_for_equal_time(tmp_path: Path) -> None:
    root = write(tmp_path, "compare", COMPARED)
    assert measured.compare(root, "mnist").splitlines() == [
        "| recipe | FID / floor | IS / real | CAS | verdict | seconds | images in equal time "
        "| FID / floor | IS / real | CAS |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| `lsgan` | 2.40 | 0.900 | 97.2% | – | 25 | 100,000 | 2.40 | 0.900 | 97.2% |",
        "| `mlp` | 115 | 0.800 | 70.0% | collapsed | 8.0 | 310,000 | 11.4 | 0.950 | 97.4% |",
        "",
        "*On mnist, 100,000 images each; one seed each; on AVX2, 2 threads; commit abc1234. "
        "Real images: FID 0.85, CAS 99.3%.*",
    ]


def test_what_was_not_run_for_equal_time_is_left_open(tmp_path: Path) -> None:
    found = measured.compare(write(tmp_path, "compare", COMPARED), "other")
    assert "| `lsgan` | 7.00 | 0.900 | 50.0% | diverged | 2.5 | 100,000 | 7.00 | 0.900 | 50.0% |" in found
    # Of its own length by chance, and so no longer run; 5.525 tenths as fast as lsgan.
    assert "| `wgan` | 12.0 | 0.900 | 50.0% | – | 4.5 | 60,000 | – | – | – |" in found
    assert measured.own_length(tmp_path, "other") == "Not measured yet."


def test_recipes_at_their_own_length_have_a_table_of_their_own(tmp_path: Path) -> None:
    head = (
        "dataset,recipe,images,seed,processor,commit,images_a_second,own_length,fid_ratio,cas,cas_gap,setback"
    )
    root = write(
        tmp_path,
        "compare",
        f"{head},is_mean,is_real,fid_floor,cas_real,collapsed,diverged,mislabelled,converged\n"
        "mnist,lsgan,400000,0,HERE,4000,1,1.25,0.98,0.01,1.5,9,10,1,0.99,0,0,0,0\n"
        "mnist,lsgan,400000,1,HERE,4000,1,1.35,0.99,0.004,1.25,9,10,1,0.99,1,0,0,0\n"
        "mnist,lsgan,100000,0,HERE,4000,0,9,0.5,0.5,9,9,10,1,0.99,0,0,0,0\n",
    )
    assert measured.own_length(root, "mnist").splitlines() == [
        "| recipe | images | FID / floor | CAS gap, points | CAS | worst setback | verdict | seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        # 1.25 and 1.35: deviation 0.1 / sqrt 2; 1 and 0.4 points: 0.6 / sqrt 2
        "| `lsgan` | 400,000 | 1.30 ± 0.07 | 0.70 ± 0.42 | 98.50% | 1.50 | collapsed 1 of 2 | 2 |",
        "",
        f"*On mnist; mean ± standard deviation over seeds; {CAPTION}.*",
    ]
    assert "| `lsgan` | 9.00 | 0.900 | 50.0% | – | 25 | 100,000 | 9.00 |" in measured.compare(root, "mnist")
    assert measured.own_length(root, "fashion-mnist") == "Not measured yet."


def test_several_seeds_have_a_deviation_and_failures_are_counted(tmp_path: Path) -> None:
    more = "mnist,lsgan,100000,1,HERE,4000,0,0.85,2.6,9.0,10.0,0.974,0.993,1,0,0\n"
    found = measured.compare(write(tmp_path, "compare", COMPARED + more), "mnist")
    # 2.4 and 2.6: deviation 0.2 / sqrt 2; 97.2 and 97.4 %: the same
    assert "| `lsgan` | 2.50 ± 0.14 | 0.900 | 97.3% ± 0.1% | collapsed 1 of 2 | 25 | 100,000 |" in found
    assert "mean ± standard deviation over 2 seeds" in found


def test_an_experiment_has_a_column_for_each_score_and_gaps_where_there_is_none(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        "experiments",
        "table,setting,score,value,spread,seeds,processor,commit\n"
        "one,R1 of 5,FID,0.89,0.07,3,HERE\none,R1 of 5,CAS,98.63%,0.08%,3,HERE\n"
        "two,x,FID,1,,1,HERE\n"
        'one,R1 of 2,CAS,97%,,3,"AVX-512, 2 threads",def5678\n',
    )
    assert measured.experiment(root, "one").splitlines() == [
        "|  | FID | CAS |",
        "| --- | ---: | ---: |",
        "| R1 of 5 | 0.89 ± 0.07 | 98.63% ± 0.08% |",
        "| R1 of 2 |  | 97% |",
        "",
        "*Mean ± standard deviation over 3 seeds; on AVX2, 2 threads and on AVX-512, 2 threads; "
        "commits abc1234 and def5678.*",
    ]
    assert measured.experiment(root, "two").endswith(f"*One seed each; {CAPTION}.*")
    with pytest.raises(PipelineError, match=r"docs/experiments\.csv has no rows of the table three"):
        measured.experiment(root, "three")


def test_planted_images_have_a_row_each(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        "leak",
        "planted,brighter,close,close_low,close_high,copies,copies_real,memorised,processor,commit\n"
        "0,0,0.0502,0.0411,0.0608,0.0,0.0,0,HERE\n0.02,3,0.069,0.0597,0.079,0.0,0.0,1,HERE\n"
        "0.1,0,0.1454,0.1349,0.158,0.1,0.0,1,HERE\n",
    )
    assert measured.leak(root).splitlines() == [
        "| training images in the set | close (95% interval) | exact copies | flagged |",
        "| --- | ---: | ---: | ---: |",
        "| 0% | 0.050 (0.041 to 0.061) | 0% | no |",
        "| 2%, 3 grey levels brighter | 0.069 (0.060 to 0.079) | 0% | yes |",
        "| 10% | 0.145 (0.135 to 0.158) | 10% | yes |",
        "",
        f"*O{CAPTION[1:]}.*",
    ]


SCORES = "fid,fid_infinity,kid,is,precision,recall,density,coverage,label_agreement"


def test_faults_that_are_shown_have_all_scores(tmp_path: Path) -> None:
    values = "5.729,5.486,1.3898,9.657,0.9236,0.8097,0.876,0.8352,0.9912"
    root = write(
        tmp_path,
        "sensitivity",
        f"fault,level,{SCORES},processor,commit\nnoise,16,{values},HERE\nnoise,8,{values},HERE\n"
        f"pixels,0,{values.replace('5.729', '959.87')},HERE\n",
    )
    rest = "5.49 | 1.390 | 9.66 | 0.92 | 0.81 | 0.88 | 0.84 | 0.99 |"
    assert measured.sensitivity(root).splitlines() == [
        "| fault | FID | FID at infinity | KID | IS | precision | recall | density | coverage "
        "| labels agree |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| noise of 16 grey levels | 5.73 | {rest}",
        f"| random pixels | 960 | {rest}",
        "",
        f"*O{CAPTION[1:]}.*",
    ]


def test_sizes_have_means_and_the_range_of_fid_at_infinity(tmp_path: Path) -> None:
    rest = "0.1,9,0.9,0.8,1,0.7,0.99"
    root = write(
        tmp_path,
        "sample_size",
        f"images,choice,{SCORES},processor,commit\n500,0,8,1.24,{rest},HERE\n500,1,6,-1.76,{rest},HERE\n"
        f"1000,0,3.5,0.5,{rest},HERE\n",
    )
    assert measured.sample_size(root).splitlines()[2:4] == [
        "| 500 | 7.00 | -1.8 to 1.2 | 0.100 | 9.00 | 0.90 | 0.80 | 1.00 | 0.70 | 0.99 |",
        "| 1,000 | 3.50 | 0.5 to 0.5 | 0.100 | 9.00 | 0.90 | 0.80 | 1.00 | 0.70 | 0.99 |",
    ]
