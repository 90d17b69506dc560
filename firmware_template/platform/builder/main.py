"""SCons part of the platform: one ELF from src/, port/ and kernels/, the same bytes anywhere."""

import json
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
# PlatformIO keeps SCons's record of what was built beside the shared object cache, under names that
# are the same in every project. One project would take another's record for its own and link an
# object of an earlier model; so each keeps its record with its objects.
env.SConsignFile(str(Path(env.subst("$BUILD_DIR")) / ".sconsign"))
board = env.BoardConfig()
config = env.GetProjectConfig()
section = "env:" + env["PIOENV"]
project = Path(env.subst("$PROJECT_DIR"))
core = board.get("harness.core")
family = board.get("harness.family")


def option(name, default=""):
    """Return a custom option of the project."""
    return config.get(section, f"custom_{name}", default) or default


def words(name):
    """Return an option that is written one value a line."""
    return [line.strip() for line in str(option(name)).splitlines() if line.strip()]


def port_folders():
    """Return the folders of port/ that this family is made of, in link order."""
    manifest = json.loads((project / "port" / family / "port.json").read_text())
    return [*manifest["uses"], family]


machine = [
    f"-mcpu={core['cpu']}",
    "-mthumb",
    f"-mfpu={core['fpu']}",
    f"-mfloat-abi={core['float_abi']}",
]
optimization = option("optimization", "-O2")
include = ["src", "src/model", "include", "port", *(f"port/{name}" for name in port_folders())]
kernel_include = words("kernel_include")

env.Replace(
    AR="arm-none-eabi-gcc-ar",
    AS="arm-none-eabi-gcc",
    CC="arm-none-eabi-gcc",
    CXX="arm-none-eabi-g++",
    GDB="gdb-multiarch",
    OBJCOPY="arm-none-eabi-objcopy",
    RANLIB="arm-none-eabi-gcc-ranlib",
    SIZETOOL="arm-none-eabi-size",
    # D: no time stamps, no user ids.
    ARFLAGS=["rcD"],
    RANLIBFLAGS=["-D"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.vectors|\.port|\.runtime|\.kernels|\.graph|\.weights|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.stack|\.data|\.bss|\.arena)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    ASFLAGS=["-x", "assembler-with-cpp"],
    ASPPFLAGS=["-x", "assembler-with-cpp", "-Wa,-Isrc"],
    CCFLAGS=[
        *machine,
        optimization,
        "-ffunction-sections",
        "-fdata-sections",
        "-fno-common",
        "-g",  # functions, lines and types, for a fault's address and debuggers; no code differs
        "-ffp-contract=off",
    ],
    CFLAGS=["-std=c11"],
    CXXFLAGS=[
        "-std=c++17",
        "-fno-rtti",
        "-fno-exceptions",
        "-fno-threadsafe-statics",
        "-fno-use-cxa-atexit",
    ],
    CPPDEFINES=[tuple(item.split("=", 1)) if "=" in item else item for item in words("defines")],
    LINKFLAGS=[
        *machine,
        optimization,
        "-nostartfiles",
        "--specs=nano.specs",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        "-Wl,-Map,$BUILD_DIR/${PROGNAME}.map",
        "-Wl,--no-warn-mismatch",
    ],
    # The C++ library is a package of its own, and large: C alone does without it.
    LIBS=["gcc", "c", "m", *(["stdc++"] if any((project / "src").rglob("*.cpp")) else [])],
)
# Absolute paths must not get into the image; and not into what SCons compares either, or a cache
# that was moved would compile everything again.
env.Append(CCFLAGS=["$(", f"-ffile-prefix-map={project}=.", "$)"])
env.Append(CCFLAGS=words("extra_flags"), LINKFLAGS=words("extra_flags"))
env.Append(CPPPATH=[str(project / path) for path in (*include, *kernel_include)])
env.Replace(LDSCRIPT_PATH=str(project / "ld" / "board.ld"))

strict = ["-Wall", "-Wextra", "-Werror"]

# Kernels are other people's code: compiled as they are, quietly, into a library of their own. The
# linker script finds them by its name.
kernels = project / "kernels"
if kernels.is_dir():
    kernel_env = env.Clone()
    kernel_env.Append(CCFLAGS=["-w"])
    env.Prepend(
        LIBS=[
            kernel_env.StaticLibrary(
                "$BUILD_DIR/kernels",
                kernel_env.CollectBuildFiles("$BUILD_DIR/kernels", str(kernels)),
            )
        ]
    )

env.Append(CCFLAGS=strict)
for name in port_folders():
    env.Append(
        PIOBUILDFILES=env.CollectBuildFiles(f"$BUILD_DIR/port/{name}", str(project / "port" / name))
    )

# SCons does not see .incbin: an object must follow the binary files beside its source.
for binary in sorted((project / "src").rglob("*.bin")):
    for source in (*binary.parent.glob("*.S"), *binary.parent.glob("*.c")):
        relative = source.relative_to(project / "src").with_suffix(".o")
        env.Depends(f"$BUILD_DIR/src/{relative}", str(binary))

# A library is compiled where it is: its folder, sources and include paths are in a file, as names
# in platformio.ini would cost the build folder when they change. Its contents are known by a
# digest, which stands in for the headers that SCons therefore need not look at.
tree_file = project / "library" / "tree.json"
if tree_file.is_file():
    tree = json.loads(tree_file.read_text())
    root = (project / tree["root"]).resolve()
    search = [flag for path in tree["include"] for flag in ("-isystem", str(root / path))]
    prefix = ["$(", f"-ffile-prefix-map={root}=library", "$)"]
    library_env = env.Clone()
    library_env.Append(
        CCFLAGS=[*prefix, "-w", *search], CPPDEFINES=[("LIBRARY_DIGEST", tree["digest"][:16])]
    )
    for archive, names in tree["archives"].items():
        objects = [
            library_env.StaticObject(f"$BUILD_DIR/{archive}/{name}.o", str(root / name))
            for name in names
        ]
        env.Prepend(LIBS=[library_env.StaticLibrary(f"$BUILD_DIR/{archive}", objects)])
    env.Append(CCFLAGS=[*prefix, *search], CPPDEFINES=[("LIBRARY_DIGEST", tree["digest"][:16])])

elf = env.BuildProgram()
env.Depends(elf, str(project / "ld" / "board.ld"))

# The shared object cache is for what many models share. The rest would only fill it; and from the
# cache the image would come without its map.
env.NoCache(elf)
for source in [
    project / "src" / "build_info.c",
    *sorted((project / "src" / "model").glob("*.[cS]")),
    *sorted((project / "src" / "model").glob("*.cpp")),
]:
    relative = source.relative_to(project / "src").with_suffix(".o")
    env.NoCache(env.File(f"$BUILD_DIR/src/{relative}"))
Default([elf])
if "size" in COMMAND_LINE_TARGETS:
    AlwaysBuild(env.Alias("size", elf, env.VerboseAction("$SIZEPRINTCMD", "Sizes of $SOURCE")))
