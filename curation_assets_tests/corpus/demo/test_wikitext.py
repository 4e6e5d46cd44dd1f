import bz2

import pytest

pytest.importorskip("mwparserfromhell", reason="needs the extra `local`")

from curation_assets.corpus.demo.wikitext import articles, plain_text

ARTICLE = """{{Infobox country
| name = Land <!-- hidden -->
}}
[[File:Flag.svg|thumb|The [[flag]] of it]]
'''Land''' ({{IPA|lænd}}; {{lang|de|Land}}) is a [[country|sovereign country]] in [[Europe]].<ref name="a/b">A book, {{cite|x}}.</ref><ref name=b />

It has 4&nbsp;million people,<br />two rivers and [https://example.org a website].

== History ==
{{main|History of Land}}

The history is ''long''.
{| class="wikitable"
| cell || other
|}
* one item
<gallery>
File:X.jpg|caption
</gallery>
The area is <math>x^2</math> square.

=== Early ===
Early text.

== See also ==
* [[Other]]

== Later ==
Not read.

[[Category:Countries]]
"""


def test_only_prose_is_left():
    assert plain_text(ARTICLE) == (
        "Land is a sovereign country in Europe.\n\n"
        "It has 4\u00a0million people,\ntwo rivers and a website.\n\n"
        "History\nThe history is long.\n\n one item\n\nThe area is square.\n\n"
        "Early\nEarly text."
    )


@pytest.mark.parametrize("wikitext", ["", "{{only|a template}}", "== See also ==\n* x", "[[Category:A]]"])
def test_an_article_without_prose_is_empty(wikitext):
    assert plain_text(wikitext) == ""


def test_markup_that_is_never_closed_loses_no_prose():
    assert "before" in plain_text("before {{open template\n\nafter [[open link\n\n<ref>open")


def test_reads_articles_and_skips_redirects_and_other_namespaces(tmp_path):
    def page(title, ns, text, redirect=""):
        return f"<page><title>{title}</title><ns>{ns}</ns>{redirect}<revision><text>{text}</text></revision></page>"

    pages = [
        page("A &amp; B", 0, "text of a"),
        page("Old", 0, "#REDIRECT [[A]]", '<redirect title="A"/>'),
        page("Wikipedia:Rules", 4, "rules"),
        page("Empty", 0, ""),
    ]
    path = tmp_path / "dump.xml.bz2"
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">'
    path.write_bytes(bz2.compress(f"{head}{''.join(pages)}</mediawiki>".encode()))
    assert list(articles(path)) == [("A & B", "text of a"), ("Empty", "")]
