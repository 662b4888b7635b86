"""The page of a reader study: its parts lie beside this file, and are put together into one."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_SCRIPTS = ("logic.js", "viewer.js", "page.js")


def reader_page(study: Mapping[str, Any], packed: Mapping[str, bytes]) -> str:
    """The whole page, images included.

    Its security policy allows the one script and the one style sheet by their hashes, and nothing else: no request can
    leave the page, whatever its data says.

    Args:
        study: what the script reads, of plain values.
        packed: the images by id, as `PixelScale.packed` gives them.

    Example:
        >>> reader_page({"title": "Noise & sharpness"}, {}).splitlines()[0]
        '<!doctype html>'
    """
    style = _web_part("page.css")
    script = "'use strict';\n" + "".join(_web_part(name) for name in _SCRIPTS)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_policy_hash(script)}'",
            f"style-src '{_policy_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    pixels = "".join(
        f'<script type="text/plain" id="pixels-{own}">{base64.b64encode(data).decode()}</script>\n'
        for own, data in packed.items()
    )
    # a "<" in a text can't end the block of data
    data = json.dumps(study).replace("<", "\\u003c")
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(str(study["title"])),
        "STYLE": style,
        "STUDY": data,
        "PIXELS": pixels,
        "SCRIPT": script,
    }
    return re.sub(r"@@([A-Z]+)@@", lambda place: parts[place[1]], _web_part("page.html"))


def _web_part(name: str) -> str:
    return (files(__package__) / "web" / name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
