"""Sign packs and lexicons: `python -m content.sign [--key FILE] [--folder DIR]`.

Without `--key` the open DEMO key is used, which proves nothing about who wrote a text. A site gives its own key file:
YAML with `private` (base64 of 32 bytes, Ed25519), and lists the public half in `[privacy] trusted_keys`.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from typing import Any

import yaml

from content.packs import FOLDER, ContentError, pack_files, read_pack, read_yaml
from schemas import signing

HEAD = "# Written by `python -m content.sign`; never by hand. The samples are signed with the open DEMO key.\n"


def public_key(folder: Path = FOLDER) -> str:
    """Base64 of the DEMO key's public half."""
    return str(read_yaml(folder / "demo_key.yaml")["public"])


def signed(values: dict[str, dict[str, Any]], private: bytes) -> dict[str, str]:
    """Name → base64 signature of each value."""
    return {name: signing.sign(value, private) for name, value in sorted(values.items())}


def everything(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """File → name → what is signed."""
    from content.lexicon import lexicon_files, lexicon_value

    out: dict[str, dict[str, dict[str, Any]]] = {}
    for path in pack_files(folder):
        out[path.name] = {item.item_id: item.value() for item in read_pack(path)}
    for path in lexicon_files(folder):
        out[path.name] = {"lexicon": lexicon_value(path)}
    for path in phrase_files(folder):
        out[f"{path.parent.name}/{path.name}"] = {"phrases": lexicon_value(path)}
    if (folder / "referral.yaml").exists():
        out["referral.yaml"] = {"table": lexicon_value(folder / "referral.yaml")}
    return out


def phrase_files(folder: Path = FOLDER) -> list[Path]:
    """What the bot's models learn from: example phrases by topic, and by class of safety."""
    return sorted([*(folder / "intents").glob("*.yaml"), *(folder / "safety").glob("*.yaml")])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m content.sign", description=__doc__)
    parser.add_argument("--key", type=Path, default=FOLDER / "demo_key.yaml", help="YAML file with `private`")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="content folder")
    given = parser.parse_args(argv)
    try:
        private = base64.b64decode(str(read_yaml(given.key)["private"]))
        out = {name: signed(values, private) for name, values in everything(given.folder).items()}
    except (ContentError, KeyError, ValueError) as error:
        print(f"content.sign: {error}", file=sys.stderr)
        return 1
    text = HEAD + yaml.safe_dump(out, sort_keys=True, width=200)
    (given.folder / "signatures.yaml").write_text(text, encoding="utf-8")
    print(f"signed {sum(map(len, out.values()))} items in {len(out)} files; public key {signing.public_key(private)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
