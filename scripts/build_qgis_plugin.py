"""Write dist/insight_masks.zip, which QGIS installs: Plugins > Manage and Install Plugins > Install from ZIP."""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "integrations" / "qgis" / "insight_masks"
_SUFFIXES = (".py", ".txt", ".svg", "")  # LICENSE has none
_WHEN = (2020, 1, 1, 0, 0, 0)  # so that the same files give the same bytes


def build(output: Path) -> Path:
    """Write the archive.

    Args:
        output: the .zip file; its folder is made if need be.

    Returns:
        The file.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(PLUGIN.iterdir()):
            if path.is_file() and path.suffix in _SUFFIXES:
                entry = zipfile.ZipInfo(f"{PLUGIN.name}/{path.name}", _WHEN)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    return output


if __name__ == "__main__":
    print(f"wrote {build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'dist' / 'insight_masks.zip')}")
