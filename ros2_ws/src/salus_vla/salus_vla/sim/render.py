"""Off-screen pictures of the contract's cameras, on any machine with EGL (GPU or software Mesa) or OSMesa.

MuJoCo picks its OpenGL binding from $MUJOCO_GL when it is imported, and PyOpenGL stays with the first platform that was
imported. So the bindings are imported here directly, one after the other, until one gives a context.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

import mujoco
import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import CAMERAS
from salus_vla.errors import SimulatorError
from salus_vla.frames import ImageArray

BACKENDS = ("egl", "osmesa")
OFF = ("disable", "disabled", "off", "false", "0")
PACKAGES = "libegl1 and libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa)"
MAX_GEOMS = 200

SegmentArray = NDArray[np.int32]


class GlContext(Protocol):
    """What MuJoCo's OpenGL bindings share."""

    def make_current(self) -> None:
        """Bind the context to this thread."""

    def free(self) -> None:
        """Give the context back."""


def _candidates() -> tuple[str, ...]:
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in OFF:
        raise SimulatorError(f"cameras need OpenGL, but MUJOCO_GL={chosen} switches it off; unset it")
    return (chosen,) if chosen in (*BACKENDS, "glfw") else BACKENDS


def _forget_opengl() -> None:
    """Unload a binding that failed: PyOpenGL would stay with its platform, and MuJoCo's next binding refuse it."""
    os.environ.pop("PYOPENGL_PLATFORM", None)
    for name in list(sys.modules):
        if name.split(".")[0] == "OpenGL" or name.startswith(("mujoco.egl", "mujoco.osmesa")):
            del sys.modules[name]


@functools.cache
def _binding() -> tuple[str, type]:
    """The first binding that gives a context, as (name, context class); found once per process."""
    tried = []
    for name in _candidates():
        try:
            module = importlib.import_module(f"mujoco.{name}")
            context = module.GLContext(16, 16)
            context.make_current()
            context.free()
        except Exception as error:  # each binding raises its own kind: ImportError, AttributeError, GLError ...
            tried.append(f"{name}: {type(error).__name__}: {error}")
            _forget_opengl()
        else:
            return name, module.GLContext
    raise SimulatorError(
        f"no OpenGL for the cameras; tried {'; '.join(tried)}. On Debian or Ubuntu install {PACKAGES}, "
        "or choose a binding with MUJOCO_GL=egl|osmesa|glfw"
    )


def gl_backend() -> str:
    """Name of the OpenGL binding in use: `egl`, `osmesa` or `glfw`.

    Raises:
        SimulatorError: none works; says what was tried and which packages help.
    """
    return _binding()[0]


class CameraRenderer:
    """Renders the named cameras of one model. The thread that renders first owns the OpenGL context."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Open an off-screen buffer of the model's off-screen size.

        Raises:
            SimulatorError: no OpenGL binding works.
        """
        self._model = model
        self._width = int(model.vis.global_.offwidth)
        self._height = int(model.vis.global_.offheight)
        self._rect = mujoco.MjrRect(0, 0, self._width, self._height)
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._cameras = {name: self._fixed_camera(name) for name in CAMERAS}
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = False
        self._gl: GlContext | None = cast(GlContext, _binding()[1](self._width, self._height))
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def _fixed_camera(self, name: str) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = self._model.camera(name).id
        return camera

    def render(self, data: mujoco.MjData, names: Sequence[str] = CAMERAS) -> dict[str, ImageArray]:
        """Pictures of the named cameras: fresh C-contiguous uint8 RGB arrays, shape (height, width, 3).

        Raises:
            SimulatorError: a name is not a camera, or the renderer is closed.
        """
        return {name: self._draw(data, name) for name in names}

    def segment(self, data: mujoco.MjData, name: str) -> SegmentArray:
        """Id of the body seen by each pixel of a camera, shape (height, width); -1 for the sky."""
        flags = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)
        for flag in flags:
            self._scene.flags[flag] = True
        try:
            codes = self._draw(data, name).astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.int32)
        finally:
            for flag in flags:
                self._scene.flags[flag] = False
        bodies = np.full(self._scene.ngeom + 1, -1, dtype=np.int32)  # code 0 is the background
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                bodies[geom.segid + 1] = self._model.geom_bodyid[geom.objid]
        return bodies[codes]

    def _draw(self, data: mujoco.MjData, name: str) -> ImageArray:
        if name not in self._cameras:
            raise SimulatorError(f"unknown camera {name!r}; expected one of {', '.join(CAMERAS)}")
        if self._gl is None:
            raise SimulatorError("the cameras are closed")
        self._gl.make_current()  # another simulator of this process may have rendered since
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._cameras[name], everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        upside_down = np.empty((self._height, self._width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._rect, self._context)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Free the OpenGL context; a second call does nothing."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None
