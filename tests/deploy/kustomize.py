"""As much of kustomize as our overlays use; test_kubernetes.py holds it against the real one."""

from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "components", "patches"}


def rendered(folder: Path) -> list[Manifest]:
    """Every manifest that `kubectl apply -k` would send."""
    return _completed(folder, [])


def _completed(folder: Path, manifests: list[Manifest]) -> list[Manifest]:
    (what,) = loaded(folder / "kustomization.yaml")
    assert set(what) <= KNOWN, f"{folder}: {set(what) - KNOWN} are not done here"
    manifests = list(manifests)
    for each in what.get("resources", ()):
        path = folder / each
        manifests += rendered(path) if path.is_dir() else loaded(path)
    for each in what.get("components", ()):
        manifests = _completed(folder / each, manifests)
    for each in what.get("patches", ()):
        (operations,) = loaded(folder / each["path"])
        targets = [found for found in manifests if _is(found, **each["target"])]
        assert targets, f"{folder}: {each} finds nothing"
        for found in targets:
            jsonpatch.apply_patch(found, operations, in_place=True)
    return manifests


def _is(manifest: Manifest, kind: str, name: str) -> bool:
    return bool(manifest["kind"] == kind and manifest["metadata"]["name"] == name)


def loaded(path: Path) -> list[Any]:
    """The documents of one file."""
    return list(yaml.safe_load_all(path.read_text()))
