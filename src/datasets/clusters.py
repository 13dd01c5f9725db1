"""Clusters of images, found without labels: spectral embedding of a graph of neighbours, then k-means."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_matrix, csr_matrix, diags_array
from scipy.sparse.linalg import eigsh
from torch import Tensor
from tqdm import tqdm

MOST = 10_000  # images; of more, so many are drawn
NEIGHBOURS = 10
DIMENSIONS = 30  # of the embedding at most
GROUPS = 100  # clusters that labels are held against, unless that makes them smaller than
FEWEST = 20  # images on average
STARTS = 10  # of k-means; the tightest clusters are kept
ROWS = 1000  # of distances at a time


def middles(pixels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """The index of the image nearest to the middle of each of `count` clusters, int64 (count,).

    Args:
        pixels: uint8 (n, channels, height, width), more than `count`.
        count: How many clusters.
        rng: Draws the images and the starts.
    """
    some = torch.randperm(len(pixels), generator=rng)[: max(MOST, 2 * count)]
    chosen: list[int] = []
    for distances in _tightest(pixels[some], count, rng).T:  # no image stands for two clusters
        chosen.append(next(index for index in distances.argsort().tolist() if index not in chosen))
    return some[torch.tensor(chosen)]


def shared(pixels: Tensor, labels: Tensor, classes: int, rng: torch.Generator) -> list[float]:
    """How far labels go with clusters of images: the part of each class that lies in clusters of its own.

    A cluster is of the class that most of its images have. Right labels share clusters; so do wrong ones if a
    whole class is taken for another, but not if labels have little to do with what the images look like.

    Args:
        pixels: uint8 (n, channels, height, width).
        labels: int64 (n,), on the same device.
        classes: How many there are.
        rng: Draws the images and the starts.

    Returns:
        The part for each class; 0 where no image has it.
    """
    some = torch.randperm(len(pixels), generator=rng)[:MOST]
    groups = min(GROUPS, max(2, len(some) // FEWEST))
    nearest = _tightest(pixels[some], groups, rng).argmin(dim=1)
    counts = torch.zeros(groups, classes)
    counts.index_put_((nearest, labels[some].cpu()), torch.ones(len(some)), accumulate=True)
    owned = torch.where(counts.argmax(dim=1, keepdim=True) == torch.arange(classes), counts, 0).sum(dim=0)
    return (owned / counts.sum(dim=0).clip(min=1)).tolist()


def _tightest(pixels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Distances of images to the middles of clusters, (n, `count`): the tightest of several tries."""
    places = embedded(pixels.flatten(1).float().cpu(), min(count, DIMENSIONS))
    seeds = torch.randint(2**31, (STARTS,), generator=rng).tolist()
    tries = [kmeans2(places, count, minit="++", rng=np.random.default_rng(seed))[0] for seed in seeds]
    away = [torch.cdist(torch.from_numpy(places), torch.from_numpy(centres)) for centres in tries]
    return min(away, key=lambda distances: distances.min(dim=1).values.square().sum().item())


def embedded(images: Tensor, dimensions: int) -> npt.NDArray[np.float64]:
    """Places images, float (n, d), such that those are near which many short steps between neighbours join.

    Normalised spectral embedding of the graph of nearest neighbours (Ng, Jordan and Weiss 2001, who take as
    many dimensions as there are clusters).

    Returns:
        float64 (n, dimensions), each row of length 1.
    """
    count, edges = len(images), graph(images)
    # D^-1/2 W D^-1/2: its largest eigenvectors are the smallest of the normalised Laplacian
    scale = diags_array(1 / np.sqrt(np.asarray(edges.sum(axis=1)).ravel()))
    wanted = min(dimensions, count - 2)
    vectors: npt.NDArray[np.float64] = eigsh(scale @ edges @ scale, k=wanted, which="LA", v0=np.ones(count))[
        1
    ]
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return unit


def graph(points: Tensor) -> csr_matrix:
    """Which points, float (n, d), are neighbours: 1 where one is among the other's nearest, (n, n)."""
    count, near = len(points), min(NEIGHBOURS, len(points) - 1)
    parts = tqdm(points.split(ROWS), desc="nearest neighbours", unit="thousand", mininterval=1, delay=3)
    neighbours = torch.cat(
        [torch.cdist(part, points).topk(near + 1, largest=False).indices[:, 1:] for part in parts]
    )
    rows, columns = np.repeat(np.arange(count), near), neighbours.cpu().flatten().numpy()
    edges = coo_matrix((np.ones(count * near), (rows, columns)), (count, count)).tocsr()
    return edges.maximum(edges.T)
