"""The same two sets of images through this project's scores and through other tools', with our extractor.

Command: python -m benchmarks.peers (or `make peers`, which installs the tools first)

Every tool starts with two folders of PNG files and runs in a process of its own, as it comes but for the
extractor and its number of neighbours. Prints a table in Markdown: scores, seconds without the start of
Python, and peak memory of the process.
"""

import argparse
import contextlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from src.core import params, stage
from src.core.errors import PipelineError
from src.core.machine import set_up
from src.datasets import album, idx, labelled
from src.datasets.labelled import to_unit
from src.datasets.spec import read_spec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.report import grids
from src.scores import frechet, manifold, variety
from src.scores.extractor import BATCH, Embedded, embed
from src.scores.kernel import kid

Scores = dict[str, float]
COLUMNS = ["fid", "kid", "is", "precision", "recall", "density", "coverage"]
WORKERS = 2  # processes that read files, where a tool has such


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; with `--child`, runs one tool and prints what it found as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--real", type=Path, default=Path("data/raw"))
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"))
    parser.add_argument(
        "--images",
        type=int,
        default=10_000,
        help="on each side; more than the test split has are taken from the training split, which the "
        "generator has seen: good for timing, not for scores",
    )
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(measure(args.tools[0], args.child)))
        return
    print(f"| {args.images:,} against {args.images:,} | {' | '.join(COLUMNS)} | seconds | MiB |")
    print("|---|" + "---:|" * (len(COLUMNS) + 2))
    with tempfile.TemporaryDirectory() as folder:
        write_sets(Path(folder), args.real, args.synthetic, args.images)
        for tool in args.tools:
            print(row(tool, Path(folder)), flush=True)


def row(tool: str, folder: Path) -> str:
    """A line of the table: what a tool makes of the sets, in a process of its own."""
    if importlib.util.find_spec(TOOLS[tool].module) is None:
        return f"| {tool} | not installed |" + " |" * (len(COLUMNS) + 1)
    command = [sys.executable, "-m", "benchmarks.peers", "--tools", tool, "--child", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PipelineError(f"{tool} failed: {result.stderr.strip().splitlines()[-1]}")
    found = json.loads(result.stdout.splitlines()[-1])
    scores = [f"{found[name]:.7g}" if name in found else "" for name in COLUMNS]
    return f"| {tool} | {' | '.join(scores)} | {found['seconds']:.1f} | {found['mebibytes']:,.0f} |"


def measure(tool: str, folder: Path) -> Scores:
    """A tool's scores of the sets in a folder, with its seconds and its peak memory so far in MiB."""
    settings = params.read()
    set_up("cpu", settings.threads)
    extractor = weights.read_classifier(Path("models/extractor.safetensors"))
    start = time.perf_counter()
    with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
        found = TOOLS[tool].scores(
            extractor, folder / "real", folder / "synthetic", settings.evaluate.neighbours
        )
    found["seconds"] = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["mebibytes"] = peak / (2**20 if sys.platform == "darwin" else 2**10)
    return found


def write_sets(folder: Path, real: Path, synthetic: Path, count: int) -> None:
    """Writes the first images of both sets as PNG files, into folder/real and folder/synthetic.

    Raises:
        PipelineError: There are fewer.
    """
    spec = read_spec(real)
    enough = count <= len(idx.read_pair(real, "test", spec)[1])
    sets = {
        "real": labelled.read(real, "test" if enough else "train", spec),
        "synthetic": labelled.read(synthetic, "train", spec),
    }
    for name, data in sets.items():
        if count > len(data):
            raise PipelineError(f"--images is {count}; allowed: up to {len(data)}, as {name} has no more")
        (folder / name).mkdir()
        bar = tqdm(data.pixels[:count].split(1), desc=f"{name} pictures", disable=None, leave=False)
        for number, pixels in enumerate(bar):
            picture = grids.tiled(pixels, columns=1)
            Image.fromarray(picture).save(folder / name / f"{number:05}.png")


def ours(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """This project's scores."""
    a, b = (_embedded(extractor, path) for path in (real, synthetic))
    return {
        "fid": frechet.fid(a.features, b.features),
        "kid": kid(a.features, b.features),
        "is": variety.inception_score(b.logits, splits=10, seed=0)[0],
        **manifold.overlap(a.features, b.features, neighbours=neighbours)._asdict(),
    }


def _embedded(extractor: ConvClassifier, folder: Path) -> Embedded:
    return embed(extractor, album.read(folder, extractor.spec, seed=0).pixels)


class Whole(nn.Module):
    """Features or logits of bytes (n, 3, h, w), as other tools give them: of a grey image thrice the same."""

    def __init__(self, extractor: ConvClassifier, output: str) -> None:
        super().__init__()
        self.extractor, self.output = extractor, output
        self.num_features = extractor.num_features if output == "features" else extractor.spec.classes

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps bytes to features (n, 128) or logits (n, classes)."""
        features = self.extractor.features(to_unit(pixels[:, : self.extractor.spec.channels]))
        logits: Tensor = features if self.output == "features" else self.extractor.head(features)
        return logits


def torchmetrics(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """torchmetrics; it reads no files, so that it gets ours."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    del neighbours
    features = Whole(extractor, "features")
    fid, kid = FrechetInceptionDistance(feature=features), KernelInceptionDistance(feature=features)
    score = InceptionScore(feature=Whole(extractor, "logits"))
    for part in album.read(real, extractor.spec, seed=0).pixels.split(BATCH):
        fid.update(part, real=True)
        kid.update(part, real=True)
    for part in album.read(synthetic, extractor.spec, seed=0).pixels.split(BATCH):
        fid.update(part, real=False)
        kid.update(part, real=False)
        score.update(part)
    return {"fid": fid.compute().item(), "kid": kid.compute()[0].item(), "is": score.compute()[0].item()}


def torch_fidelity(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """torch-fidelity, with our extractor registered as one of its own."""
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Registered(FeatureExtractorBase):  # type: ignore[misc]
        """Features and logits under the names that the metrics ask for."""

        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)
            self.outputs = nn.ModuleList(Whole(extractor, output) for output in features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, str]:
            return ("features", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
            return tuple(output(pixels) for output in self.outputs)

    torch_fidelity.register_feature_extractor("ours", Registered)
    found = torch_fidelity.calculate_metrics(
        input1=str(synthetic),
        input2=str(real),
        feature_extractor="ours",
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        prc_neighborhood=neighbours,
        batch_size=BATCH,
        cache=False,
        verbose=False,
    )
    return {
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "is": found["inception_score_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


def pytorch_fid(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """pytorch-fid, whose network gives a list of maps for images (n, 3, h, w) in [0, 1]."""
    from pytorch_fid import fid_score

    class Maps(Whole):
        """Features (n, 128, 1, 1), the one element of a list."""

        def forward(self, unit: Tensor) -> list[Tensor]:  # type: ignore[override]
            return [super().forward((255 * unit).round().byte())[:, :, None, None]]

    del neighbours
    network, statistics = Maps(extractor, "features"), []
    for folder in (real, synthetic):
        files = sorted(folder.glob("*.png"))
        statistics += fid_score.calculate_activation_statistics(
            files, network, batch_size=BATCH, dims=network.num_features, num_workers=WORKERS
        )
    return {"fid": float(fid_score.calculate_frechet_distance(*statistics))}


def clean_fid(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """clean-fid, without the resizing that it is there for; images come in [0, 255]."""
    from cleanfid import fid

    class Rounded(Whole):
        """Features of floats that are whole but for rounding."""

        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels.round().byte())

    del neighbours
    a, b = (
        fid.get_folder_features(
            str(folder),
            Rounded(extractor, "features"),
            num_workers=WORKERS,
            batch_size=BATCH,
            device=torch.device("cpu"),
            custom_fn_resize=_as_it_is,
            verbose=False,
        )
        for folder in (real, synthetic)
    )
    return {"fid": float(fid.fid_from_feats(a, b)), "kid": float(fid.kernel_distance(a, b))}


def _as_it_is(pixels: object) -> object:
    return pixels


def prdc(extractor: ConvClassifier, real: Path, synthetic: Path, neighbours: int) -> Scores:
    """The package prdc, by the authors of density and coverage; it takes features, so that it gets ours."""
    from prdc import compute_prdc

    a, b = (_embedded(extractor, path).features.numpy() for path in (real, synthetic))
    return {name: float(value) for name, value in compute_prdc(a, b, neighbours).items()}


class Tool(NamedTuple):
    """A tool: the module that must be installed, and what makes it score two folders."""

    module: str
    scores: Callable[[ConvClassifier, Path, Path, int], Scores]


TOOLS = {
    "ours": Tool("src", ours),
    "torchmetrics": Tool("torchmetrics", torchmetrics),
    "torch-fidelity": Tool("torch_fidelity", torch_fidelity),
    "pytorch-fid": Tool("pytorch_fid", pytorch_fid),
    "clean-fid": Tool("cleanfid", clean_fid),
    "prdc": Tool("prdc", prdc),
}


if __name__ == "__main__":
    stage.run(main)
