"""Leads links out of docs to the repository, where the files are that the site does not have."""

import posixpath
import re

LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_page_markdown(markdown, *, page, config, files):
    """Is called by mkdocs for the text of each page."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def led(link):
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        if ":" in link[2] or target.startswith("docs/"):
            return link[0]
        return f"{link[1]}{config.repo_url}/blob/main/{target}{link[3]}"

    return LINK.sub(led, markdown)
