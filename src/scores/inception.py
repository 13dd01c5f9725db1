"""ImageNet's Inception network as extractor, for scores that compare with those in the literature.

The protocol is that of Lucic et al. 2018: grey tiled to three channels, bytes resized to 299x299 as
TensorFlow 1 did, features of the last pooling layer, logits without bias. The network is torch-fidelity's.
"""

import hashlib
import io
import os
import socket
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from tqdm import tqdm

from src.core.errors import PipelineError
from src.datasets.labelled import to_bytes

FILE = Path(urlsplit(URL_INCEPTION_V3).path).name
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "INCEPTION_WEIGHTS"
SECONDS = 20.0  # for the connection, and for each wait for more bytes
# Fixed, for the last bits of a feature depend on how many images are worked on at once.
BATCH = 50


class Inception(nn.Module):
    """Inception v3 of 2015 with 2,048 features, in eval mode for good.

    Args:
        weights: The state of torch-fidelity's `FeatureExtractorInceptionV3`.
    """

    num_features = 2048

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        # Given a path, torch-fidelity would unpickle whatever lies there. These bytes are our own.
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        buffer.seek(0)
        self.network = FeatureExtractorInceptionV3("inception", ["2048"], buffer)
        classes, features = self.network.fc.weight.shape
        self.head = nn.Linear(features, classes, bias=False)
        self.head.weight = self.network.fc.weight
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        """Maps images (n, 1 or 3, h, w) in [-1, 1] to features (n, 2048), each >= 0."""
        batches = to_bytes(images.clone()).expand(-1, 3, -1, -1).split(BATCH)
        bar = tqdm(batches, desc="Inception, batches of 50 images", disable=None, leave=False)
        return torch.cat([self.network(batch)[0] for batch in bar])


def read() -> Inception:
    """The network with the weights of `FILE`, from where `find` finds them. No code in the file is ever run.

    Raises:
        PipelineError: The file is not there, or is not exactly the one that it should be.
    """
    path = find()
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        raise PipelineError(
            f"{path} has the sha256 {found} instead of {SHA256}; replace it by {URL_INCEPTION_V3}"
        )
    # Tensors only: torch's closed list of what a file may make.
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return Inception(weights)


def find() -> Path:
    """The weights: the file that $INCEPTION_WEIGHTS names, or among torch's downloads, fetched if need be.

    Raises:
        PipelineError: They can't be had; says which file must be put where.
    """
    if named := os.environ.get(VARIABLE):
        if Path(named).is_file():
            return Path(named)
        raise PipelineError(f"{VARIABLE} is {named}, which is not a file; set it to where you have {FILE}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        usual = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SECONDS)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=SHA256)
        except (OSError, RuntimeError, HTTPException) as error:
            raise PipelineError(
                f"params.yaml: evaluate.extractor is 'inception', and its weights can't be had ({error}): "
                f"put {URL_INCEPTION_V3} (96 MB, sha256 {SHA256}) at {path}, or set {VARIABLE} to where you "
                "have it; or set evaluate.extractor to trained"
            ) from None
        finally:
            socket.setdefaulttimeout(usual)
    return path
