"""Hooks of mkdocs (`mkdocs.yml`): pages made from the SDL, llms.txt, and the check that a page loads nothing from
other hosts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs.site.other_hosts import loaded_from_elsewhere  # noqa: E402
from docs.site.reference import reference_pages  # noqa: E402  mkdocs runs this file by its path

_pages: dict[str, tuple[str, str]] = {}
"""Title and Markdown of each page by its path."""


def _named(nav: Any) -> Iterator[str]:
    """Paths of the pages in a part of the navigation."""
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(one)


def on_config(config: Any) -> Any:
    """Pages that mkdocs.yml does not name come last, the decisions as a section of their own."""
    docs = Path(config.docs_dir)
    pages = (path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md")) if not _is_package(path))
    others = [page for page in pages if page not in set(_named(config.nav))]
    decisions = [page for page in others if page.startswith("decisions/")]
    config.nav += [{"Decisions": decisions}]
    if more := [page for page in others if page not in decisions]:
        config.nav += [{"More": more}]
    return config


def _is_package(path: Path) -> bool:
    return "node_modules" in path.parts


def on_files(files: Files, config: Any) -> Files:
    sdl = (ROOT / "graphql" / "schema.graphql").read_text(encoding="utf-8")
    limits = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    for path, text in reference_pages(sdl, limits).items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to what is not documentation become its path in the repository."""
    outside = r"\[([^\]]+)\]\((?:\.\./)+((?:benchmarks|tests)/[^)]+)\)"
    text = re.sub(outside, r"\1 (`\2`)", markdown.replace("](\n", "]("))
    _pages[page.file.src_uri] = (str(page.title), text)
    return text


def on_post_build(config: Any) -> None:
    site = Path(config.site_dir)
    _write_llms_txt(site)
    if found := list(loaded_from_elsewhere(site)):
        raise PluginError("pages load from other hosts:\n" + "\n".join(found))


def _summary(text: str) -> str:
    """The first paragraph of prose."""
    paragraphs = (" ".join(one.split()) for one in re.split(r"\n\s*\n|^#.*\n", text, flags=re.MULTILINE))
    prose = next((one for one in paragraphs if one and not one.startswith(("|", "`" * 3, "<!--", "---"))), "")
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", prose)


def _write_llms_txt(site: Path) -> None:
    """An index for language models (llmstxt.org), and the Markdown of each page at its path."""
    lines = ["# Billing gateway", "", f"> {_summary(_pages['index.md'][1])}", "", "## Pages", ""]
    for path, (title, text) in sorted(_pages.items()):
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        lines.append(f"- [{title}]({path}): {_summary(text)[:300]}")
    (site / "llms.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
