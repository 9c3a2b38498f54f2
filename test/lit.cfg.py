# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

import os
import shutil
import subprocess

import lit.formats

config.name = "vashista"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".py"]
config.excludes = ["Inputs", "consumer", "lit.cfg.py", "lit.site.cfg.py"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.vashista_build_dir, "test")

# The package finds its own checkout's build/; this build may be another.
config.environment["PYTHONPATH"] = os.path.join(config.vashista_source_dir, "python")
config.environment["VASHISTA_BUILD"] = config.vashista_build_dir
# Not the user's; what is in it is found by the compiler's bytes, too.
config.environment["VASHISTA_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")

# Tools by their plain names: ours first, then those of the LLVM that we build
# against, so that an older FileCheck on the machine is never taken.
config.environment["PATH"] = os.pathsep.join(
    [
        os.path.join(config.vashista_build_dir, "bin"),
        config.llvm_tools_dir,
        config.environment["PATH"],
    ]
)


def find_python(*modules, named=None):
    """A Python with these: the system's, which has its packages, or another; or the one
    that is named. None if there is none."""
    candidates = [named] if named else []
    candidates += ["/usr/bin/python3", config.python, shutil.which("python3")]
    for python in filter(None, candidates):
        if (
            os.access(python, os.X_OK)
            and not subprocess.run(
                [python, "-c", f"import {', '.join(modules)}"],
                stderr=subprocess.DEVNULL,
            ).returncode
        ):
            return python
    return None


numpy_python = find_python("numpy", "matplotlib")
if numpy_python is None:
    lit_config.fatal(
        "expected a Python with numpy and matplotlib, found none; install "
        "python3-numpy python3-matplotlib"
    )

# Tests of PyTorch and transformers run where somebody brings them.
named_python = os.environ.get("VASHISTA_TORCH_PYTHON")
torch_python = find_python("torch", named=named_python)
if named_python and torch_python != named_python:
    lit_config.fatal(
        f"expected torch in VASHISTA_TORCH_PYTHON={named_python}, found none"
    )
if torch_python is None:
    lit_config.note("no Python with torch: its tests are left out (docs/tools.md)")
else:
    config.available_features.add("torch")
    if find_python("torch", "transformers", named=torch_python) == torch_python:
        config.available_features.add("transformers")


# Tests that assemble for a GPU; PTX needs no toolkit.
if shutil.which("ptxas", path=config.environment["PATH"] + ":/usr/local/cuda/bin"):
    config.available_features.add("ptxas")
    config.environment["PATH"] += ":/usr/local/cuda/bin"

link_options = [config.linker_flags]
if config.vashista_sanitize:
    link_options.append("-fsanitize=address,undefined")
    config.available_features.add("asan")
    # MLIR's own containers are not annotated.
    config.environment["ASAN_OPTIONS"] = "detect_container_overflow=0"

# A CMake run of another project that uses our archives.
cmake_consumer = [
    config.cmake,
    "-G Ninja",
    f"-DCMAKE_C_COMPILER={config.c_compiler}",
    f"-DCMAKE_CXX_COMPILER={config.cxx_compiler}",
    f"-DCMAKE_EXE_LINKER_FLAGS='{' '.join(link_options)}'",
]
config.substitutions += [
    ("%cmake_consumer", " ".join(cmake_consumer)),
    ("%cmake", config.cmake),
    ("%numpy_python", numpy_python),
    ("%torch_python", torch_python or "no-python-with-torch"),
    ("%python", config.python),
    ("%source_dir", config.vashista_source_dir),
    ("%build_dir", config.vashista_build_dir),
    ("%mlir_dir", config.mlir_dir),
    ("%vashista_asan_flag", "--asan" if config.vashista_sanitize else ""),
    (
        "%vashista_run_artefacts",
        os.path.join(
            config.test_exec_root, "Tools", "vashista-run", "VashistaRunArtefacts"
        ),
    ),
    (
        "%fake_cuda",
        os.path.join(config.test_exec_root, "Runtime", "libVashistaFakeCuda.so"),
    ),
    (
        "%vashista_plugin",
        os.path.join(config.vashista_build_dir, "lib", "VashistaPlugin.so"),
    ),
]
