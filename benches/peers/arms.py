"""The arms of the comparison: benchinf's own binary, and a worker process for each peer."""

import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import time

from environment import last_error
from ratios import around

WORKERS = pathlib.Path(__file__).resolve().parent / "workers"
# Loading, filling a depth and a slow pass take long; beyond this a worker is taken for hung.
PATIENCE_S = 3600


class ArmFailed(Exception):
    """One sentence that says why an arm gives no figure."""


@dataclasses.dataclass(frozen=True)
class Test:
    """`n` prompt tokens in one pass (pp), or `n` greedy steps (tg), after `depth` cached ones."""

    kind: str
    n: int
    depth: int
    batch: int

    @property
    def name(self):
        return f"{self.kind}{self.n}" + (f" @ d{self.depth}" if self.depth else "")


@dataclasses.dataclass(frozen=True)
class Peer:
    """A peer in one number format."""

    name: str
    package: str  # llama.cpp, pytorch or candle
    gguf_kind: str | None
    dtype: str
    # candle's quantised models rotate without the scaling that a configuration may ask for.
    scales_rope: bool = True


def peers_of(dtype, packages):
    """The peers that compute in a format."""
    floats = dtype in ("f32", "f16", "bf16")
    gguf_kinds = dict(q8_0=["Q8_0"], q4_k=["Q4_K_M", "Q4_K"]).get(dtype, [dtype.upper()])
    found = []
    if "candle" in packages:
        kind = None if floats else gguf_kinds[0]
        found.append(Peer(f"candle {kind or dtype}", "candle", kind, dtype, floats))
    if "pytorch" in packages and floats:
        found.append(Peer(f"PyTorch {dtype}", "pytorch", None, dtype))
    if "llama.cpp" in packages:
        for kind in gguf_kinds:
            found.append(Peer(f"llama.cpp {kind}", "llama.cpp", kind, dtype))
    return found


class Worker:
    """A peer's process."""

    def __init__(self, command, settings, log, n_threads):
        threads = str(n_threads)
        environment = os.environ | dict(
            OMP_NUM_THREADS=threads,
            MKL_NUM_THREADS=threads,
            OPENBLAS_NUM_THREADS=threads,
            RAYON_NUM_THREADS=threads,
            CUDA_VISIBLE_DEVICES="",
            HF_HUB_OFFLINE="1",
            TRANSFORMERS_VERBOSITY="error",
            PYTHONUNBUFFERED="1",
        )
        self.log = pathlib.Path(log)
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command] + [json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        self.unread = b""
        self.about = self.answer()["ready"]

    @property
    def pid(self):
        return self.process.pid

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # It is gone, which reading its answer explains.
        return self.answer()

    def answer(self):
        end = time.monotonic() + PATIENCE_S
        out = self.process.stdout.fileno()
        while b"\n" not in self.unread:
            ready, _, _ = select.select([out], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(out, 1 << 20) if ready else b""
            if not ready:
                self.stop()
                raise ArmFailed(f"no answer within {PATIENCE_S} s")
            if not piece:
                status = self.process.wait()
                how = signal.Signals(-status).name if status < 0 else f"status {status}"
                raise ArmFailed(f"the worker ended with {how}: {last_error(self.log)}")
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        message = json.loads(line)
        if "error" in message:
            raise ArmFailed(message["error"].split("\n")[0])
        return message

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def start_peer(peer, environment, checkpoint, gguf_folder, n_threads, candle_binary):
    """Makes the files that a peer reads, and starts its worker."""
    path, types = checkpoint, None
    if peer.gguf_kind:
        script = WORKERS.parent / "gguf_files.py"
        command = [environment.python, script, checkpoint, peer.gguf_kind, gguf_folder, n_threads]
        made = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if made.returncode != 0:
            lines = made.stderr.strip().splitlines() or ["nothing was said"]
            raise ArmFailed(f"its GGUF file cannot be made: {lines[-1]}")
        about = json.loads(made.stdout.splitlines()[-1])
        path, types = about["path"], about["tensor_types"]
    command = {
        "llama.cpp": [environment.python, WORKERS / "llama_cpp_worker.py"],
        "pytorch": [environment.python, WORKERS / "pytorch_worker.py"],
        "candle": [candle_binary],
    }[peer.package]
    settings = dict(path=str(path), dtype=peer.dtype, n_threads=n_threads)
    log = environment.logs / f"worker-{peer.name.replace(' ', '-')}.log"
    worker = Worker(command, settings, log, n_threads)
    worker.about["tensor_types"] = types
    return worker


class Benchinf:
    """The binary as its users run it. Each turn is a process of its own: it loads the model, warms
    up, measures one round by its own clock and checks its output, which a paused process could
    not do without its clock running on."""

    def __init__(self, binary, folder, settings):
        self.binary = str(pathlib.Path(binary).resolve())
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings  # model, seed, n_threads, min_seconds

    def call(self, *words):
        command = [self.binary] + [str(word) for word in words]
        # In the folder of its files, so that a result file's command line names no path.
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder)

    def said(self, done):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return (lines or [f"exit status {done.returncode}"])[0]

    def why_not(self, *words):
        """Why the binary does not take these options; nothing if it does."""
        done = self.call("run", "-m", "tiny", "--dry-run", *words)
        return None if done.returncode == 0 else self.said(done)

    def version(self):
        return self.call("--version").stdout.strip()

    def logits(self, model, dtype, tokens, kernels=()):
        words = ["logits", "-m", model, "--dtype", dtype, "--seed", self.settings["seed"]]
        words += ["-t", self.settings["n_threads"], "--tokens", ",".join(map(str, tokens))]
        done = self.call(*words, *kernels)
        if done.returncode == 2 and kernels:
            done = self.call(*words)  # A build whose `logits` does not choose kernels.
        if done.returncode != 0:
            raise ArmFailed(f"benchinf logits: {self.said(done)}")
        return json.loads(done.stdout)["logits"]

    def common(self):
        seconds = self.settings["min_seconds"]
        words = ["-t", self.settings["n_threads"], "-r", 1, "--seed", self.settings["seed"]]
        return words + ["--min-time", f"{seconds:g}s", "-q", "-o", "json", "--force"]

    def turn(self, dtype, kernels, tests, file):
        """One round of tests of one depth and batch; the result file's cases by test."""
        n = {kind: [test.n for test in tests if test.kind == kind] for kind in ("pp", "tg")}
        words = ["run", "-m", self.settings["model"], "--dtype", dtype, *kernels]
        words += ["-p", ",".join(map(str, n["pp"] or [0]))]
        words += ["-n", ",".join(map(str, n["tg"] or [0]))]
        words += ["-d", tests[0].depth, "-b", tests[0].batch, "--no-ceilings"]
        done = self.call(*words, *self.common(), "--out", file)
        if done.returncode not in (0, 1) or not done.stdout:
            raise ArmFailed(f"benchinf: {self.said(done)}")
        result = json.loads(done.stdout)
        cases = {}
        for case in result["cases"]:
            if case["outcome"]["status"] != "measured":
                raise ArmFailed(f"benchinf, {case['id']}: {case['outcome'].get('reason')}")
            axes = case["axes"]
            kind, size = ("pp", "n_prompt") if axes["n_prompt"] else ("tg", "n_gen")
            cases[Test(kind, axes[size], axes["n_depth"], axes["batch_size"])] = case
        return result, cases

    def probe(self, dtypes, file):
        """The ceilings of this machine, once; none for formats that the build does not probe."""
        done = self.call("probe", "--dtype", ",".join(dtypes), *self.common(), "--out", file)
        if done.returncode not in (0, 1) or not done.stdout:
            raise ArmFailed(f"benchinf probe: {self.said(done)}")
        return json.loads(done.stdout)

    def where(self):
        """What a word takes now between the two threads of this machine, before and after a read
        of memory, in nanoseconds or None."""
        file = "where.json"
        done = self.call("probe", "--only", "memory_read", *self.common(), "--out", file)
        if done.returncode not in (0, 1) or not done.stdout:
            raise ArmFailed(f"benchinf probe: {self.said(done)}")
        ceiling = json.loads(done.stdout)["ceilings"][0]
        if ceiling["outcome"]["status"] != "measured":
            raise ArmFailed(f"benchinf probe, {ceiling['id']}: {ceiling['outcome'].get('reason')}")
        return around(ceiling["rounds"][0])

    def merge(self, files, file):
        """One result file out of one per round."""
        return self.call("merge", *files, "--out", file, "--force")

