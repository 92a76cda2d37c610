"""`pxr` and `usdrt` as far as they are used: a stage of prims with attributes that must be made before they are set."""

from types import SimpleNamespace
from typing import Any

from .calls import record


class Attribute:
    """An attribute of a prim."""

    def __init__(self, path: str, name: str, value: Any) -> None:
        self._name, self.value = f"{path}.{name}", value

    def Set(self, value: Any) -> None:  # noqa: N802  # USD's own names, here and below
        record("Set", self._name, value)
        self.value = value


class Variants:
    """A variant set."""

    def __init__(self, prim: "Prim", name: str) -> None:
        self._prim, self._name = prim, name

    def GetVariantNames(self) -> list[str]:  # noqa: N802
        return self._prim.stage.variants.get(self._name, [])

    def SetVariantSelection(self, choice: str) -> None:  # noqa: N802
        record("SetVariantSelection", self._prim.path, self._name, choice)


class Prim:
    """A prim of the stage."""

    def __init__(self, stage: "Stage", path: str, kind: str) -> None:
        self.stage, self.path, self.kind = stage, path, kind
        self.attributes: dict[str, Attribute] = {}
        self.apis: set[type] = set()

    def GetAttribute(self, name: str) -> Attribute:  # noqa: N802
        return self.attributes[name]  # a KeyError for one that nobody made

    def GetReferences(self) -> Any:  # noqa: N802
        return SimpleNamespace(AddReference=self._refer)

    def GetVariantSet(self, name: str) -> Variants:  # noqa: N802
        return Variants(self, name)

    def HasAPI(self, api: type) -> bool:  # noqa: N802
        return api in self.apis

    def _refer(self, asset: str) -> None:
        record("AddReference", self.path, asset)
        self.stage.load_robot(self.path)


class Stage:
    """All prims by path; a robot that is referenced brings its links along."""

    LINKS = (*(f"panda_link{i}" for i in range(9)), "panda_hand", "panda_leftfinger", "panda_rightfinger")

    def __init__(self, variants: dict[str, list[str]]) -> None:
        self.prims: dict[str, Prim] = {}
        self.variants = variants

    def DefinePrim(self, path: str, kind: str) -> Prim:  # noqa: N802
        record("Define", kind, path)
        return self.prims.setdefault(path, Prim(self, path, kind))

    def GetPrimAtPath(self, path: str) -> Prim:  # noqa: N802
        return self.prims[path]

    def load_robot(self, path: str) -> None:
        for link in self.LINKS:
            prim = self.prims[f"{path}/{link}"] = Prim(self, f"{path}/{link}", "Xform")
            prim.apis.add(RigidBodyAPI)


class _Schema:
    def __init__(self, prim: Prim) -> None:
        self._prim = prim

    def GetPrim(self) -> Prim:  # noqa: N802
        return self._prim

    def _create(self, name: str, value: Any) -> None:
        record("Create", f"{self._prim.path}.{name}", value)
        self._prim.attributes[name] = Attribute(self._prim.path, name, value)


def _schema(kind: str, *, api: bool = False, ops: bool = False, **attributes: str) -> type:
    """A schema class with `CreateXAttr` for each of the attributes, `X="name"`."""
    body: dict[str, Any] = {
        f"Create{key}Attr": (lambda self, value, name=name: self._create(name, value))
        for key, name in attributes.items()
    }
    if ops:
        for op in ("Translate", "Scale"):
            body[f"Add{op}Op"] = lambda self, op=op: SimpleNamespace(
                Set=lambda value: self._create(f"xformOp:{op.lower()}", value)
            )
    cls = type(kind, (_Schema,), body)
    if api:

        def apply(prim: Prim) -> Any:
            record("Apply", kind, prim.path)
            prim.apis.add(cls)
            return cls(prim)

        cls.Apply = staticmethod(apply)  # type: ignore[attr-defined]
    else:
        cls.Define = staticmethod(lambda stage, path: cls(stage.DefinePrim(path, kind)))  # type: ignore[attr-defined]
    return cls


COLOR = {"DisplayColor": "primvars:displayColor"}
LENS = {"HorizontalAperture": "horizontalAperture", "VerticalAperture": "verticalAperture"}
LENS |= {"FocalLength": "focalLength", "ClippingRange": "clippingRange"}
FRICTION = {"StaticFriction": "physics:staticFriction", "DynamicFriction": "physics:dynamicFriction"}
RigidBodyAPI = _schema("RigidBodyAPI", api=True, KinematicEnabled="physics:kinematicEnabled")
_Binding = _schema("MaterialBindingAPI", api=True)
_Binding.Bind = lambda self, material, strength, purpose: record(  # type: ignore[attr-defined]
    "Bind", self.GetPrim().path, material.GetPrim().path, strength, purpose
)


def namespaces() -> dict[str, dict[str, Any]]:
    """Content of each module of `pxr` and `usdrt`."""
    tokens = SimpleNamespace(z="Z")
    vector = staticmethod(lambda *values: tuple(float(value) for value in values)).__func__
    return {
        "pxr.Usd": {"PrimRange": lambda top: [p for path, p in top.stage.prims.items() if path.startswith(top.path)]},
        "pxr.Gf": {"Vec2f": vector, "Vec3f": vector, "Vec3d": vector},
        "pxr.UsdGeom": {
            "Tokens": tokens,
            "SetStageMetersPerUnit": lambda stage, value: record("SetStageMetersPerUnit", value),
            "SetStageUpAxis": lambda stage, value: record("SetStageUpAxis", value),
            "Xform": _schema("Xform"),
            "Cube": _schema("Cube", ops=True, Size="size", **COLOR),
            "Cylinder": _schema("Cylinder", ops=True, Axis="axis", Radius="radius", Height="height", **COLOR),
            "Camera": _schema("Camera", **LENS),
        },
        "pxr.UsdPhysics": {
            "RigidBodyAPI": RigidBodyAPI,
            "CollisionAPI": _schema("CollisionAPI", api=True),
            "MassAPI": _schema("MassAPI", api=True, Mass="physics:mass"),
            "MaterialAPI": _schema("MaterialAPI", api=True, Restitution="physics:restitution", **FRICTION),
        },
        "pxr.UsdShade": {
            "Tokens": SimpleNamespace(strongerThanDescendants="strongerThanDescendants"),
            "Material": _schema("Material"),
            "MaterialBindingAPI": _Binding,
        },
        "pxr.UsdLux": {
            "DomeLight": _schema("DomeLight", Intensity="inputs:intensity"),
            "DistantLight": _schema("DistantLight", Intensity="inputs:intensity"),
        },
        "pxr.PhysxSchema": {
            "PhysxMaterialAPI": _schema("PhysxMaterialAPI", api=True, FrictionCombineMode="frictionCombineMode"),
            "PhysxContactReportAPI": _schema("PhysxContactReportAPI", api=True, Threshold="threshold"),
        },
        "pxr.PhysicsSchemaTools": {"intToSdfPath": lambda number: PATHS[number]},
        "usdrt.Sdf": {"Path": lambda path: f"Path({path})"},
    }


PATHS: list[str] = []  # of the actors in contact reports


def number_of(path: str) -> int:
    """A number for `intToSdfPath`."""
    if path not in PATHS:
        PATHS.append(path)
    return PATHS.index(path)
