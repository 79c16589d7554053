"""`make screens`: a picture of every page of the dashboard, as wide as a window and as a phone, into .screens/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browser.pages_in_browser import PHONE, SCREEN, chromium, shown

FOLDER = Path(__file__).parents[1] / ".screens"
DARK = ("waiting", "promotion-promoted", "alias", "roll-back")
"""Of which there are pictures in the dark too."""


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder, shown(Path(folder)) as there, chromium() as browser:
        for scheme in ("light", "dark"):
            for width in (SCREEN, PHONE):
                page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                there.sign_in(page)
                for name, path in there.paths.items():
                    if scheme == "light" or name in DARK:
                        page.goto(f"{there.url}{path}")
                        page.screenshot(path=FOLDER / f"{name}-{scheme}-{width}.png", full_page=True)
                page.close()
    sys.stdout.write(f"{len(list(FOLDER.glob('*.png')))} pictures are in {FOLDER.name}/\n")


if __name__ == "__main__":
    main()
