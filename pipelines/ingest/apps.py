"""Package → app category. The package ends here (topics.md 4, device.phone_usage)."""

from __future__ import annotations

import pyarrow as pa

# stores' own categories, by prefix; and packages that stores file under TOOLS or COMMUNICATION
BY_STORE = {
    "GAME": "GAME",
    "SOCIAL": "SOCIAL",
    "DATING": "SOCIAL",
    "COMMUNICATION": "MESSAGING",
    "HEALTH": "HEALTH",
    "MEDICAL": "HEALTH",
    "MUSIC": "MUSIC",
    "BROWSER": "BROWSER",
}
BY_PACKAGE = {
    "com.android.chrome": "BROWSER",
    "org.mozilla.": "BROWSER",
    "com.sec.android.app.sbrowser": "BROWSER",
    "com.microsoft.emmx": "BROWSER",
    "com.opera.": "BROWSER",
    "com.brave.browser": "BROWSER",
    "com.duckduckgo.": "BROWSER",
    "com.apple.mobilesafari": "BROWSER",
    "com.whatsapp": "MESSAGING",
    "org.telegram.": "MESSAGING",
    "org.thoughtcrime.securesms": "MESSAGING",
    "com.facebook.orca": "MESSAGING",
    "com.google.android.apps.messaging": "MESSAGING",
    "com.facebook.katana": "SOCIAL",
    "com.instagram.": "SOCIAL",
    "com.twitter.": "SOCIAL",
    "com.zhiliaoapp.musically": "SOCIAL",
    "com.snapchat.": "SOCIAL",
    "com.reddit.": "SOCIAL",
    "com.spotify.music": "MUSIC",
    "com.google.android.apps.youtube.music": "MUSIC",
    "com.apple.music": "MUSIC",
    "com.soundcloud.": "MUSIC",
}
EVENTS = {"FOREGROUND": "FG", "BACKGROUND": "BG", "UNLOCK": "UNLOCK"}


def category(package: str, store: str | None) -> str:
    """SOCIAL, GAME, BROWSER, MESSAGING, HEALTH, MUSIC or OTHER.

    >>> category("org.example.chess", "GAME_BOARD")
    'GAME'
    """
    found = next((c for start, c in BY_PACKAGE.items() if package.startswith(start)), None)
    if found is None and store:
        found = next((c for start, c in BY_STORE.items() if store.upper().startswith(start)), None)
    return found or "OTHER"


def usage(value: pa.StructArray) -> dict[str, pa.Array]:
    """Columns of `device.phone_usage` from those of `raw.app_usage`."""
    events = [EVENTS[e] for e in value.field("event").to_pylist()]
    known: dict[tuple[str, str | None], str] = {}
    pairs = list(zip(value.field("package").to_pylist(), value.field("category").to_pylist(), strict=True))
    for pair in set(pairs):
        known[pair] = category(*pair)
    kinds = ["OTHER" if e == "UNLOCK" else known[p] for e, p in zip(events, pairs, strict=True)]
    return {
        "category": pa.array(kinds, pa.string()),
        "event": pa.array(events, pa.string()),
        "duration_s": value.field("duration_s"),
    }
