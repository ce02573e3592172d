"""The private environment: a virtual environment with the peers, and what is compiled for them.

Uses nothing beyond the standard library, since it runs before anything is installed.
"""

import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What llama.cpp is compiled with: for this processor, with the threads that its users have, and
# without its multimodal half.
LLAMA_CMAKE_ARGS = "-DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAVA_BUILD=OFF"


class NotInstalled(Exception):
    """One sentence that says what could not be installed or built, and where its log is."""


def processor():
    """Model and instruction sets of the processor: what was compiled natively holds for it only."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


class Environment:
    """A folder that holds the virtual environment, builds, logs and models."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.logs = self.folder / "logs"
        self.python = self.folder / "venv" / "bin" / "python"

    def run(self, what, command, log, **environment):
        """Runs a step with its output in a log file.

        Raises NotInstalled with the last line of the log that says something."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / log
        print(f"{what} (log: {path})", file=sys.stderr, flush=True)
        with open(path, "w") as file:
            try:
                status = subprocess.run(
                    [str(part) for part in command],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=os.environ | environment,
                ).returncode
            except OSError as error:
                raise NotInstalled(f"{what}: {error}") from error
        if status != 0:
            raise NotInstalled(f"{what}: exit status {status}; {last_error(path)} (log: {path})")

    def once(self, name, key, step):
        """Runs a step unless it was done before with the same key."""
        marker = self.folder / f"{name}.done"
        digest = hashlib.sha256(key.encode()).hexdigest()
        if marker.exists() and marker.read_text() == digest:
            return
        marker.unlink(missing_ok=True)
        step()
        marker.write_text(digest)

    def pip(self, what, requirements, *options, **environment):
        command = [self.python, "-m", "pip", "install", "-v", "--disable-pip-version-check"]
        for name in requirements:
            command += ["-r", HERE / name]
        log = f"pip-{pathlib.Path(requirements[0]).stem}.log"
        self.run(what, command + list(options), log, **environment)

    def base(self):
        """The virtual environment, with what the script itself needs."""
        # Of another Python, or moved here from elsewhere, an environment is of no use.
        key = f"{sys.version}\n{self.folder}\n" + (HERE / "requirements.txt").read_text()

        def make():
            venv.create(self.folder / "venv", clear=True, with_pip=True)
            for marker in ("llama", "pytorch"):
                (self.folder / f"{marker}.done").unlink(missing_ok=True)
            self.pip("installing numpy and gguf", ["requirements.txt"])

        self.once("base", key, make)

    def llama(self):
        names = ["requirements-llama.txt"]
        key = (HERE / names[0]).read_text() + LLAMA_CMAKE_ARGS + processor()
        # From source and not from pip's cache, which may hold a build for another processor.
        self.once("llama", key, lambda: self.pip(
            "compiling llama.cpp; this takes minutes",
            names,
            "--no-cache-dir",
            "--force-reinstall",
            "--no-binary=llama-cpp-python",
            "--no-deps",
            CMAKE_ARGS=LLAMA_CMAKE_ARGS,
        ))

    def pytorch(self):
        names = ["requirements-pytorch.txt", "requirements-transformers.txt"]

        def install():
            self.pip("installing PyTorch; this loads 2.5 GB", names[:1], "--no-deps")
            self.pip("installing transformers", names[1:])

        self.once("pytorch", "".join((HERE / name).read_text() for name in names), install)

    def candle(self):
        """Builds the worker of candle-transformers for this processor; its path."""
        target = self.folder / "candle"
        # candle's quantised products use AVX only where the compiler may assume it.
        flags = os.environ.get("RUSTFLAGS", "") + " -C target-cpu=native"
        command = ["cargo", "build", "--release", "--locked", "--target-dir", target]
        command += ["--manifest-path", HERE / "candle" / "Cargo.toml"]
        what = "building candle-transformers' worker"
        self.run(what, command, "candle.log", RUSTFLAGS=flags.strip())
        return target / "release" / "peer-candle"

    def benchinf(self):
        """Builds benchinf as its users do; its path."""
        command = ["cargo", "build", "--release", "--locked"]
        manifest = ["--manifest-path", ROOT / "Cargo.toml"]
        self.run("building benchinf", command + manifest, "benchinf.log")
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        return pathlib.Path(target) / "release" / "benchinf"

    def packages(self):
        """`name==version` of all that is installed."""
        command = [str(self.python), "-m", "pip", "list", "--format=freeze"]
        command += ["--disable-pip-version-check"]
        return subprocess.run(command, capture_output=True, text=True).stdout.split()


def last_error(path):
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["nothing was said"])[-1][:300]
