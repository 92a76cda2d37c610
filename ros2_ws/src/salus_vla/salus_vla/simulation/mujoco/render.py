"""Off-screen images of the contract's cameras, on any machine with EGL (GPU or software Mesa) or OSMesa.

A process can load one OpenGL binding only: MuJoCo looks for functions in whatever library the process has, so after a
failed EGL even a good OSMesa gives nothing. So each binding is tried in a process of its own (about a second, once).
The one that works is kept in $MUJOCO_GL, for the processes that this one starts; one that is set there is not tried.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from typing import Protocol, cast

import mujoco
import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import ImageArray

BACKENDS = ("egl", "osmesa")
OFF = ("disable", "disabled", "off", "false", "0")
HELP = (
    "On Debian or Ubuntu install libegl1 and libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa); "
    "MUJOCO_GL=egl|osmesa|glfw chooses one"
)
PROBE = """
import importlib, sys, mujoco
context = importlib.import_module("mujoco." + sys.argv[1]).GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
"""
PROBE_TIMEOUT = 60.0  # s
MAX_GEOMS = 200

SegmentArray = NDArray[np.int32]


class GlContext(Protocol):
    """What MuJoCo's OpenGL bindings share."""

    def make_current(self) -> None:
        """Bind the context to this thread."""

    def free(self) -> None:
        """Gives the context back."""


_begun: dict[str, subprocess.Popen[str]] = {}  # bindings that are being tried


def begin_to_find_backend() -> None:
    """Begins what `gl_backend` takes half a second for, beside whatever the process does next."""
    if not os.environ.get("MUJOCO_GL", "").strip():
        _begin_to_try(BACKENDS[0])


def _begin_to_try(name: str) -> subprocess.Popen[str]:
    if name not in _begun:
        # The name is told in advance, or MuJoCo also imports GLFW, which asks for its version in one more process.
        told = {"MUJOCO_GL": name} if name in ("egl", "osmesa") else {}
        environment = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
        _begun[name] = subprocess.Popen(
            [sys.executable, "-c", PROBE, name],
            env=environment | told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    return _begun[name]


def _try_in_a_process(name: str) -> str | None:
    """None when the binding can draw, else the last line of its complaint."""
    process = _begin_to_try(name)
    try:
        _, said = process.communicate(timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"no answer in {PROBE_TIMEOUT:g} s"
    finally:
        del _begun[name]
    if process.returncode == 0:
        return None
    return (said.strip().splitlines() or [f"exit status {process.returncode}"])[-1]


@functools.cache
def gl_backend() -> str:
    """Name of the OpenGL binding to use: $MUJOCO_GL, else the first of `BACKENDS` that works; found once per process.

    Raises:
        SimulatorError: none works, with what was tried and which packages help; or $MUJOCO_GL switches OpenGL off.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in OFF:
        raise SimulatorError(f"cameras need OpenGL, but MUJOCO_GL={chosen} switches it off; unset it")
    if chosen in (*BACKENDS, "glfw"):
        return chosen
    tried = []
    for name in BACKENDS:
        complaint = _try_in_a_process(name)
        if complaint is None:
            os.environ["MUJOCO_GL"] = name
            return name
        tried.append(f"{name}: {complaint}")
    raise SimulatorError(f"no OpenGL for the cameras; tried {'; '.join(tried)}. {HELP}")


def _free(gl: GlContext, context: mujoco.MjrContext) -> None:
    gl.make_current()
    context.free()
    gl.free()


class CameraRenderer:
    """Renders the named cameras of one model. The thread that renders first owns the OpenGL context."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Opens an off-screen buffer of the model's off-screen size.

        Raises:
            SimulatorError: no OpenGL binding works.
        """
        self._model = model
        self._stale = False
        self._width = int(model.vis.global_.offwidth)
        self._height = int(model.vis.global_.offheight)
        self._rect = mujoco.MjrRect(0, 0, self._width, self._height)
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._cameras = {name: self._fixed_camera(name) for name in CAMERAS}
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = False
        backend = gl_backend()
        try:
            binding = importlib.import_module(f"mujoco.{backend}")
            self._gl = cast(GlContext, binding.GLContext(self._width, self._height))
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # each binding raises its own kind: ImportError, AttributeError, FatalError ...
            raise SimulatorError(f"OpenGL {backend} does not work: {type(error).__name__}: {error}. {HELP}") from error
        # Also when nobody closes: at the interpreter's end OSMesa's own destructor comes too late.
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def _fixed_camera(self, name: str) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = self._model.camera(name).id
        return camera

    def forget_textures(self) -> None:
        """The model's textures have changed: the next image uses the new ones."""
        self._stale = True

    def render(self, data: mujoco.MjData, names: Sequence[str] = CAMERAS) -> dict[str, ImageArray]:
        """Images of the named cameras: fresh C-contiguous uint8 RGB arrays, shape (height, width, 3).

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
        if not self._free.alive:
            raise SimulatorError("the cameras are closed")
        self._gl.make_current()  # another simulator of this process may have rendered since
        if self._stale:
            for texture in range(self._model.ntex):
                mujoco.mjr_uploadTexture(self._model, self._context, texture)
            self._stale = False
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._cameras[name], everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        upside_down = np.empty((self._height, self._width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._rect, self._context)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Frees the OpenGL context; a second call does nothing."""
        self._free()
