"""The Panda's MJCF and meshes from the `dm-robotics-panda` package, with the meshes thinned out once and cached.

Software rendering costs time per triangle: the original meshes have about 150,000, the thinned ones about 14,000, and
look alike at 256 x 256. The package has one palette texture for all parts; here each triangle gets its palette colour,
so that the model needs no texture.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salus_vla.config.paths import cache_dir
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import FloatArray

PACKAGE = "dm-robotics-panda"
FOLDER = "dm_robotics/panda/assets/panda"
PALETTE = "panda.png"
# Triangles kept per mesh, about 14,000 with the finger used twice; what cameras see from near gets more.
TRIANGLES = {
    "link0": 1400,
    "link1": 1300,
    "link2": 1300,
    "link3": 1400,
    "link4": 1400,
    "link5": 1600,
    "link6": 1800,
    "link7": 1200,
    "hand": 1600,
    "finger": 500,
}
PLAIN_WHITE = ("link1", "link2")  # panda.xml does not put the palette on these two
FORMAT = 2  # raise it when the meaning of the cached arrays changes

IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in its body's frame.

    Attributes:
        vertices: shape (n, 3) [m].
        faces: shape (m, 3), indices of vertices.
        colors: shape (m, 3), RGB of each face in 0..1.
    """

    vertices: FloatArray
    faces: IntArray
    colors: FloatArray


def panda_file(name: str) -> Path:
    """Path of a file of the installed package, for example `panda.xml`.

    Raises:
        SimulatorError: the package or the file is missing.
    """
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(f"{FOLDER}/{name}")))
    except importlib.metadata.PackageNotFoundError as error:
        raise SimulatorError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}==0.4.8") from error
    if not path.is_file():
        raise SimulatorError(f"{PACKAGE}: {path} is missing; expected version 0.4.8")
    return path


def _read_obj(path: Path) -> tuple[FloatArray, IntArray, FloatArray]:
    """Vertices (n, 3), triangles (m, 3) and each triangle's mean texture coordinate (m, 2) of an OBJ file."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: list[list[int]] = []
    corners: list[list[int]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        key, *words = line.split() or [""]
        if key == "v":
            vertices.append([float(word) for word in words[:3]])
        elif key == "vt":
            texture.append([float(word) for word in words[:2]])
        elif key == "f":
            indices = [[int(part) - 1 for part in word.split("/")[:2]] for word in words]
            if len(indices) != 3:
                raise SimulatorError(f"{path}: expected triangles, found a face with {len(indices)} corners")
            faces.append([index[0] for index in indices])
            corners.append([index[1] for index in indices])
    uv = np.asarray(texture)[np.asarray(corners)].mean(axis=1)
    return np.asarray(vertices), np.asarray(faces, dtype=np.int32), uv


def _thin(name: str, palette: NDArray[np.uint8]) -> Mesh:
    """Thin out each colour by itself, so that the borders between colours stay where they are."""
    vertices, faces, uv = _read_obj(panda_file(f"{name}.obj"))
    height, width = palette.shape[:2]
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1.0 - uv[:, 1]) * height).astype(int), 0, height - 1)
    colors = np.full((len(faces), 3), 255) if name in PLAIN_WHITE else palette[row, column]
    parts: list[tuple[FloatArray, IntArray, FloatArray]] = []
    offset = 0
    for color in np.unique(colors, axis=0):
        chosen = faces[(colors == color).all(axis=1)]
        used, local = np.unique(chosen, return_inverse=True)
        target = max(12, TRIANGLES[name] * len(chosen) // len(faces))
        points, triangles = vertices[used].astype(np.float32), local.reshape(-1, 3).astype(np.int32)
        if target < len(triangles):
            points, triangles = fast_simplification.simplify(points, triangles, target_count=target)
        parts.append((points.astype(np.float64), triangles + offset, np.tile(color / 255.0, (len(triangles), 1))))
        offset += len(points)
    return Mesh(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _key() -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, TRIANGLES, PLAIN_WHITE]).encode())
    digest.update(importlib.metadata.version("fast-simplification").encode())
    for name in (PALETTE, *(f"{mesh}.obj" for mesh in TRIANGLES)):
        digest.update(panda_file(name).read_bytes())
    return digest.hexdigest()[:16]


def _write(path: Path, arrays: dict[str, FloatArray | IntArray]) -> None:
    """Writes atomically: processes that start together may all do it, and each leaves a whole file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".panda-", delete=False) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub mixes arrays with a flag
        os.replace(file.name, path)
    except OSError as error:
        raise SimulatorError(
            f"{path}: cannot be written ({error}); set SALUS_CACHE_DIR to a writable folder"
        ) from error


def _read(path: Path) -> dict[str, Mesh] | None:
    try:
        with np.load(path) as stored:
            return {
                name: Mesh(*(stored[f"{name}_{part}"] for part in ("vertices", "faces", "colors")))
                for name in TRIANGLES
            }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # a damaged cache is made again


def cache_file() -> Path:
    """Where the thinned meshes are kept; the name is a hash of the sources and the settings."""
    return cache_dir() / "meshes" / f"panda-{_key()}.npz"


def load_meshes() -> dict[str, Mesh]:
    """The thinned meshes by name (`link0` .. `link7`, `hand`, `finger`), made and cached on first use (about 3 s).

    Raises:
        SimulatorError: the package is missing or the cache folder cannot be written.
    """
    path = cache_file()
    cached = _read(path)
    if cached is not None:
        return cached
    palette = np.asarray(Image.open(panda_file(PALETTE)).convert("RGB"))
    meshes = {name: _thin(name, palette) for name in TRIANGLES}
    _write(
        path,
        {
            f"{name}_{part}": getattr(mesh, part)
            for name, mesh in meshes.items()
            for part in ("vertices", "faces", "colors")
        },
    )
    return meshes


def main() -> None:
    """Makes the cache and prints what is in it."""
    meshes = load_meshes()
    triangles = sum(len(mesh.faces) for mesh in meshes.values()) + len(meshes["finger"].faces)
    print(f"{cache_file()}: {len(meshes)} meshes, {triangles} triangles in the scene")


if __name__ == "__main__":
    main()
