"""Prose that installed Python packages bring along: docstrings, descriptions, licences, changelogs, other documents.

Files are read and parsed, never imported or run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

# Direct and indirect dependencies that are the same on every platform, so that the corpus does not depend on what
# else is installed. Those that are absent are passed over.
# fmt: off
PACKAGES = (
    "accelerate", "alembic", "anyio", "certifi", "charset-normalizer", "click", "cloudpickle",
    "coloredlogs", "contourpy", "cycler", "dagster", "dagster-graphql", "dagster-pipes", "dagster-shared",
    "dagster-webserver", "docstring-parser", "filelock", "fonttools", "fsspec", "gensim",
    "gql", "graphene", "graphql-core", "grpcio", "h11", "httptools", "huggingface-hub", "humanfriendly",
    "idna", "jinja2", "joblib", "kiwisolver", "mako", "markdown-it-py", "markupsafe", "matplotlib",
    "mdurl", "mpmath", "mwparserfromhell", "narwhals", "networkx", "numpy", "packaging", "pillow",
    "platformdirs", "polars", "protobuf", "psutil", "pyarrow", "pydantic", "pygments", "pyparsing",
    "python-dateutil", "python-dotenv", "pytz", "pyyaml", "regex", "requests", "requests-toolbelt",
    "rich", "safetensors", "scikit-learn", "scipy", "sentence-transformers", "sentencepiece",
    "setuptools", "six", "smart-open", "sqlalchemy", "starlette", "structlog", "sympy", "tabulate",
    "threadpoolctl", "tokenizers", "tomli", "tomlkit", "toposort", "torch", "tqdm", "transformers",
    "typer", "typing-extensions", "universal-pathlib", "urllib3", "uvicorn", "watchdog", "watchfiles",
    "websockets", "wrapt", "yarl", "zstandard",
)

_SKIP_FOLDERS = frozenset(
    {
        "test", "tests", "testing", "test_data", "data", "vendor", "_vendor", "vendored", "_vendored",
        "externals", "extern", "third_party",
    }
)
# fmt: on
_MAX_FILE_BYTES = 400_000
_FILES_PER_PACKAGE = 60  # Python files that are parsed, at most
_LICENSE = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)
_CHANGELOG = re.compile(r"change|history|news|release", re.IGNORECASE)


@dataclass(frozen=True)
class Text:
    """A text as it was found: `key` names it uniquely, `origin` is the file or object it comes from."""

    key: str
    source: str
    origin: str
    text: str


def order(key: str) -> bytes:
    """Return the rank of a key in the fixed pseudo-random order by which texts are chosen and mixed."""
    return blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return `{package: version}` of those of `packages` that are installed."""
    return {name: distribution.version for name in packages if (distribution := _distribution(name))}


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def package_texts(name: str, accept: Callable[[str], bool], docstrings: int) -> Iterator[Text]:
    """Yield the texts of an installed package that `accept` likes; at most `docstrings` docstrings.

    Docstrings come from the first files in `order`, so that a big package need not be parsed whole.
    """
    distribution = _distribution(name)
    if distribution is None:
        return
    description = (distribution.metadata.json.get("description") or "") if distribution.metadata else ""
    if isinstance(description, str) and accept(description):
        yield Text(f"{name}:description", "readme", name, description)
    # The path on the disk may differ; the one in the record is the same everywhere.
    files = {
        str(PurePosixPath(file)): Path(str(distribution.locate_file(file)))
        for file in distribution.files or ()
    }
    for record in sorted(files):
        if (source := _kind(PurePosixPath(record))) and (text := _read(files[record])) and accept(text):
            yield Text(f"{name}:{record}", source, record, text)
    modules = sorted((file for file in files if _is_module(PurePosixPath(file))), key=order)
    left = docstrings
    for record in modules[:_FILES_PER_PACKAGE]:
        for docstring in _docstrings(name, record, files[record]):
            if left and accept(docstring.text):
                left -= 1
                yield docstring
        if not left:
            return


def _kind(path: PurePosixPath) -> str | None:
    """Say what a file that is no module is: "readme", "license", "changelog", "docs", or None for no prose."""
    if _SKIP_FOLDERS.intersection(path.parts[:-1]):
        return None
    metadata = path.parts[0].endswith(".dist-info")
    prose = path.suffix.lower() in (".md", ".rst") or (
        path.suffix.lower() in ("", ".txt") and not path.name.islower()
    )
    if metadata and "licenses" in path.parts:
        return "license" if path.suffix.lower() in ("", ".txt", ".md", ".rst") else None
    if not prose or (metadata and path.name in ("METADATA", "RECORD", "WHEEL", "INSTALLER", "REQUESTED")):
        return None
    if _LICENSE.search(path.name):
        return "license"
    if _CHANGELOG.search(path.name):
        return "changelog"
    return "readme" if "readme" in path.name.lower() else "docs"


def _is_module(path: PurePosixPath) -> bool:
    private = path.parts[0].endswith(".dist-info") or path.parts[0] in ("..", "bin")
    return path.suffix == ".py" and not private and not _SKIP_FOLDERS.intersection(path.parts)


def _read(path: Path) -> str | None:
    """Return a file's text, or None where it is absent, too large or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= _MAX_FILE_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


def _docstrings(name: str, record: str, path: Path) -> Iterator[Text]:
    code = _read(path)
    if not code or '"""' not in code:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from _walk(tree, name, record, "")


def _walk(node: ast.AST, name: str, record: str, qualname: str) -> Iterator[Text]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, (ast.Module, *kinds)) and (text := ast.get_docstring(node)):
        origin = f"{record}:{qualname}" if qualname else record
        line = node.body[0].lineno  # overloads and properties share a name
        yield Text(f"{name}:{origin}:{line}", "docstring", origin, text)
    for child in getattr(node, "body", ()):
        if isinstance(child, kinds):
            yield from _walk(child, name, record, f"{qualname}.{child.name}".lstrip("."))
