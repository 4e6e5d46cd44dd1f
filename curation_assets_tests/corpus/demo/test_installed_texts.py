from pathlib import PurePosixPath

import pytest

from curation_assets.corpus.demo.installed_texts import _docstrings, _kind, package_texts, versions


def test_finds_the_docstrings_of_a_file_without_running_it(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""About the module."""\n'
        "raise SystemExit\n"
        "class A:\n"
        '    """About A."""\n'
        "    async def run(self):\n"
        '        """About run.\n\n        More.\n        """\n'
        "    def quiet(self): pass\n"
        'x = """not a docstring"""\n'
    )
    found = list(_docstrings("pack", "pack/module.py", path))
    assert [(one.origin, one.text) for one in found] == [
        ("pack/module.py", "About the module."),
        ("pack/module.py:A", "About A."),
        ("pack/module.py:A.run", "About run.\n\nMore."),
    ]
    assert len({one.key for one in found}) == 3


@pytest.mark.parametrize("code", ['"""never closed', 'print "two" """x"""', "\0", 'x = """' + "(" * 5])
def test_a_file_that_is_not_python_has_no_docstrings(tmp_path, code):
    (tmp_path / "a.py").write_text(code)
    assert list(_docstrings("pack", "a.py", tmp_path / "a.py")) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a-1.0.dist-info/licenses/LICENSE", "license"),
        ("a-1.0.dist-info/licenses/sub/AUTHORS.md", "license"),
        ("a-1.0.dist-info/LICENSE.txt", "license"),
        ("a-1.0.dist-info/METADATA", None),
        ("a-1.0.dist-info/entry_points.txt", None),
        ("a/README.rst", "readme"),
        ("a/CHANGES.md", "changelog"),
        ("a/guide.md", "docs"),
        ("a/tests/README.md", None),
        ("a/_vendor/b/LICENSE", None),
        ("a/words.txt", None),
        ("a/module.py", None),
    ],
)
def test_tells_prose_files_by_their_names(path, kind):
    assert _kind(PurePosixPath(path)) == kind


def test_reads_an_installed_package_and_passes_over_an_absent_one():
    assert list(package_texts("no-such-package-at-all", lambda text: True, 5)) == []
    assert versions(("no-such-package-at-all", "numpy")).keys() == {"numpy"}
    found = list(package_texts("numpy", lambda text: len(text) > 200, 5))
    assert sum(one.source == "docstring" for one in found) == 5
    assert {"license", "docstring", "readme"} <= {one.source for one in found}
    assert len({one.key for one in found}) == len(found)
    assert all(len(one.text) > 200 and "/tests/" not in one.origin for one in found)
