"""Build hook: makes `gen/` of `protos/` (messages, stubs, types, one descriptor set), and the native library.

Proto path is Python path: `protos/trunkline/error/v1/x.proto` is imported as `trunkline.error.v1.x_pb2`.
`make protos` calls `generate` too, since an editable install does not notice that a proto changed.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


NATIVE = Path("services/inference_worker/engine/native/building.py")


class TrunklineBuildHook(BuildHookInterface[Any]):
    """Runs `generate` and `compile_native` before hatchling collects files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate into the tree that is being built. With a library, a wheel is this platform's."""
        generate(Path(self.root))
        if compile_native(Path(self.root)) and self.target_name == "wheel" and version == "standard":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"py3-none-{platform}"}


def compile_native(root: Path) -> Path | None:
    """Return the library of the native runner; None, after a sentence, where there is no compiler."""
    spec = spec_from_file_location("building", root / NATIVE)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{NATIVE} is missing")
    building = sys.modules["building"] = module_from_spec(spec)
    spec.loader.exec_module(building)
    library: Path | None = building.build()
    return library


def generate(root: Path) -> None:
    """Write `gen/` anew under `root`; raises RuntimeError when protoc refuses a file."""
    from grpc_tools import protoc

    protos, out = root / "protos", root / "gen"
    google = _package_root("google.rpc")
    files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    shutil.rmtree(out / "trunkline", ignore_errors=True)
    (out / "trunkline").mkdir(parents=True)
    includes = [f"-I{protos}", f"-I{google}", f"-I{_package_root('grpc_tools') / 'grpc_tools' / '_proto'}"]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [f"--plugin={name}={_script(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    descriptors = ["--include_imports", "--include_source_info"]
    descriptors.append(f"--descriptor_set_out={out / 'trunkline' / 'descriptors.binpb'}")
    if protoc.main(["protoc", *includes, *plugins, *outputs, *descriptors, *files]) != 0:
        raise RuntimeError("protoc refused a file in protos/; its own message stands above")
    for folder in {path.parent for path in (out / "trunkline").rglob("*_pb2.py")}:
        for package in (folder, *folder.parents):
            if package == out:
                break
            (package / "__init__.py").touch()
    (out / "trunkline" / "py.typed").touch()
    _copy_google_protos(google, out / "include")


def _script(name: str) -> str:
    """Return the path of an installed script: on PATH (an isolated build) or beside Python (a venv)."""
    return shutil.which(name) or str(Path(sys.executable).parent / name)


def _package_root(name: str) -> Path:
    """Return the folder that holds the top-level package of `name`."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{name} is not installed; build-system.requires in pyproject.toml names it")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return folder.parents[name.count(".")]


def _copy_google_protos(google: Path, include: Path) -> None:
    """Copy the `google/rpc` files that buf cannot fetch offline."""
    target = include / "google" / "rpc"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("status", "error_details", "code"):
        shutil.copyfile(google / "google" / "rpc" / f"{name}.proto", target / f"{name}.proto")


if __name__ == "__main__":
    sys.exit(generate(ROOT))
