"""One session: check that all arms agree, then run them in interleaved rounds."""

import datetime
import json
import math
import os
import pathlib
import shutil
import sys

import checkpoint
import generator
import shapes
from arms import ArmFailed, Benchinf, Test, peers_of, start_peer
from load import Watch
from ratios import GEMM_OF, around, ceilings, evaluate, places, relative_error

# ||a - b|| / ||b|| of logits against benchinf's in f32: a few times what was seen at the shapes
# of `models/`. A wrong permutation, position or mask gives about 1.
TOLERANCES = dict(f32=1e-4, f16=2e-2, bf16=1e-1, q8_0=2e-1, q4_k=5e-1)


def tolerance(dtype, name):
    """llama.cpp keeps keys and values in f16 whatever the weights are in."""
    least = TOLERANCES["f16"] if name.startswith("llama.cpp") else 0.0
    return max(TOLERANCES[dtype], least)


N_CHECK_TOKENS, N_CHECK_SINGLE = 64, 8
# From these shares of the processors' time on, a warning.
MAX_WAITING, MAX_OTHERS = 0.01, 0.05
LOADS = ("waiting", "others", "stolen")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Session:
    def __init__(self, options, environment, packages, binaries, left_out):
        self.options = options
        self.environment = environment
        self.packages = packages  # those peers that could be installed
        self.candle_binary = binaries.get("candle")
        self.left_out, self.warnings = left_out, []
        self.config = shapes.read_config(options.model)
        self.folder = environment.folder / "models" / f"{options.model}-seed{options.seed}"
        self.turns = environment.folder / "turns"
        settings = dict(
            model=options.model,
            seed=options.seed,
            n_threads=options.threads,
            min_seconds=options.min_seconds,
        )
        self.benchinf = Benchinf(binaries["benchinf"], self.turns, settings)
        self.started = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
        self.arms, self.checks, self.rows, self.probes = {}, [], [], []
        # Two threads on two processors are at one place, whoever's they are; on more they are not.
        self.asks_where = options.threads == 2 == len(os.sched_getaffinity(0))
        self.load = {}  # of each arm, seconds of turns and of what others took
        self.files = {}  # benchinf's result files by the name they are merged under
        self.result_file = None
        self.references = {}

    # Before anything is timed

    def kernels(self, dtype):
        """The arms of benchinf in a format: (name, options). What the build does not know is left
        out with its own words."""
        problem = self.benchinf.why_not("--dtype", dtype)
        if problem:
            self.leave_out(f"benchinf {dtype}", problem)
            return []
        found = []
        for kernels in self.options.kernels:
            words = ("--kernels", kernels)
            problem = self.benchinf.why_not("--dtype", dtype, *words)
            if problem is None:
                found.append((f"benchinf {kernels}", words))
            else:
                self.leave_out(f"benchinf {dtype} {kernels}", problem)
        if not found:
            found = [("benchinf", ())]
        return found

    def leave_out(self, arm, reason):
        line = f"{arm}: {reason}"
        if line not in self.left_out:
            self.left_out.append(line)
            say(f"left out: {line}")

    def reference(self, tokens, scales_rope):
        """benchinf's logits in f32, of the shape with or without the scaling of its rotation."""
        plain = not scales_rope and bool(self.config.get("rope_scaling"))
        if plain not in self.references:
            model = self.options.model
            if plain:
                path = self.turns / "plain" / "config.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(self.config | dict(rope_scaling=None)))
                model = path
            self.references[plain] = self.benchinf.logits(model, "f32", tokens)
        return self.references[plain]

    def check(self, dtype, name, logits, reference):
        error = max(relative_error(row, reference) for row in logits)
        limit = tolerance(dtype, name)
        agrees = error <= limit
        self.checks.append(
            # JSON has no infinity.
            dict(
                dtype=dtype,
                arm=name,
                error=error if math.isfinite(error) else None,
                tolerance=limit,
                agrees=agrees,
            )
        )
        say(f"  logits of {name}: error {error:.1e}, at most {limit:g}")
        if not agrees:
            raise ArmFailed(f"its logits differ by {error:.1e}; {limit:g} is allowed in {dtype}")

    def start(self, dtype):
        """The arms of a format whose logits agree: benchinf's, and started workers."""
        tokens = generator.tokens(
            self.options.seed, self.config["vocab_size"], 1, 0, N_CHECK_TOKENS
        )[0]
        ours, workers = [], {}
        for name, kernels in self.kernels(dtype):
            try:
                logits = self.benchinf.logits(self.options.model, dtype, tokens, kernels)
                self.check(dtype, name, [logits], self.reference(tokens, True))
                ours.append((name, kernels))
                self.arms[name] = dict(version=self.benchinf.version(), settings=self.turn_note())
            except ArmFailed as failure:
                self.leave_out(f"{name} {dtype}", failure)
        for peer in peers_of(dtype, self.packages):
            say(f"loading {peer.name}")
            try:
                worker = start_peer(
                    peer,
                    self.environment,
                    self.folder,
                    self.folder,
                    self.options.threads,
                    self.candle_binary,
                )
            except ArmFailed as failure:
                self.leave_out(peer.name, failure)
                continue
            try:
                rows = [
                    worker.ask(op="logits", tokens=tokens, n_single=n)["logits"]
                    for n in (0, N_CHECK_SINGLE)
                ]
                self.check(dtype, peer.name, rows, self.reference(tokens, peer.scales_rope))
                workers[peer.name] = worker
                self.arms[peer.name] = worker.about
            except ArmFailed as failure:
                worker.stop()
                self.leave_out(peer.name, failure)
        return ours, workers

    def turn_note(self):
        return "a process per round, which loads, warms up, measures one round and checks it"

    # Rounds

    def measure(self, dtype, depth, batch, ours, workers):
        """All rounds of the tests of one depth and batch."""
        options = self.options
        tests = [Test("pp", n, depth, batch) for n in options.n_prompt if n > 0]
        tests += [Test("tg", n, depth, batch) for n in options.n_gen if n > 0]
        rows = {test: self.row(dtype, test, ours, workers) for test in tests}
        prepared = {}
        for name, worker in workers.items():
            try:
                self.prepare(worker, tests)
                prepared[name] = worker
            except ArmFailed as failure:
                self.leave_out(f"{name}, depth {depth}, batch {batch}", failure)
        order = [name for name, _ in ours] + list(prepared)
        for round_idx in range(options.rounds):
            # Another arm begins each round, and every other round runs backwards, so that drift
            # favours none.
            shift = round_idx % max(1, len(order))
            turn_order = order[shift:] + order[:shift]
            if round_idx % 2:
                turn_order.reverse()
            say(f"{dtype} d{depth} b{batch}, round {round_idx + 1} of {options.rounds}")
            for name in turn_order:
                if name in dict(ours):
                    self.our_turn(round_idx, dtype, name, dict(ours)[name], tests, rows)
                elif name in prepared:
                    try:
                        self.peer_turn(round_idx, name, prepared, tests, rows)
                    except ArmFailed as failure:
                        self.leave_out(f"{name}, round {round_idx + 1}", failure)
                        prepared.pop(name).stop()
                        workers.pop(name)
            if options.ceilings:
                self.probe(dtype)
        self.rows += rows.values()

    def row(self, dtype, test, ours, workers):
        names = [name for name, _ in ours] + list(workers)
        rounds = self.options.rounds
        return dict(
            dtype=dtype,
            test=test.name,
            depth=test.depth,
            batch=test.batch,
            ours=ours[0][0] if ours else None,
            work=None,
            arms=[
                dict(
                    name=name, rounds=[None] * rounds, handover_ns=[None] * rounds, cut=False
                )
                for name in names
            ],
        )

    def prepare(self, worker, tests):
        """Fills the depth, and warms up with the shapes of the tests."""
        depth, batch = tests[0].depth, tests[0].batch
        seed, vocab = self.options.seed, self.config["vocab_size"]
        longest = max(test.n for test in tests)
        prompts = [test.n for test in tests if test.kind == "pp"]
        worker.ask(
            op="prepare",
            depth=generator.tokens(seed, vocab, batch, 0, depth),
            n_positions=depth + longest,
            n_prompt=max(prompts, default=1),
        )
        for test in tests:
            worker.ask(**self.request(test, min_seconds=0.0, max_seconds=5.0))

    def request(self, test, **limits):
        seed, vocab = self.options.seed, self.config["vocab_size"]
        n = test.n if test.kind == "pp" else 1
        tokens = generator.tokens(seed, vocab, test.batch, test.depth, n)
        if test.kind == "pp":
            return dict(op="prefill", tokens=tokens, min_seconds=limits["min_seconds"])
        return dict(op="decode", tokens=tokens, n_gen=test.n, **limits)

    def peer_turn(self, round_idx, name, prepared, tests, rows):
        worker = prepared[name]
        waiting = [other.pid for other in prepared.values() if other is not worker]
        _, before_ns = self.where()
        for test in tests:
            watch = Watch(worker.pid, waiting)
            limits = dict(
                min_seconds=self.options.min_seconds, max_seconds=self.options.max_seconds
            )
            answer = worker.ask(**self.request(test, **limits))
            self.note_load(name, watch.read(), answer["seconds"])
            arm = next(arm for arm in rows[test]["arms"] if arm["name"] == name)
            arm["rounds"][round_idx] = answer["tokens"] / answer["seconds"]
            arm["cut"] = arm["cut"] or answer["cut"]
            after_ns, next_ns = self.where()
            arm["handover_ns"][round_idx] = [before_ns, after_ns]
            before_ns = next_ns
            say(f"  {name} {test.name}: {arm['rounds'][round_idx]:.2f} t/s")

    def our_turn(self, round_idx, dtype, name, kernels, tests, rows):
        slug = f"{name.replace(' ', '-')}-{dtype}-d{tests[0].depth}-b{tests[0].batch}"
        file = f"{slug}-r{round_idx}.json"
        try:
            result, cases = self.benchinf.turn(dtype, kernels, tests, file)
        except ArmFailed as failure:
            self.leave_out(f"{name} {dtype}, round {round_idx + 1}", failure)
            return
        self.result_file = self.result_file or result
        self.files.setdefault(slug, []).append(file)
        for test, case in cases.items():
            arm = next(arm for arm in rows[test]["arms"] if arm["name"] == name)
            arm["rounds"][round_idx] = case["throughput"]["median_tokens_per_s"]
            if name == rows[test]["ours"]:
                rows[test]["work"] = case["work"]
            if self.asks_where:
                arm["handover_ns"][round_idx] = around(case["rounds"][0])
            conditions = case["rounds"][0]["conditions"]
            seconds = case["rounds"][0]["total_ns"] / 1e9
            self.note_load(name, conditions, seconds)
            say(f"  {name} {test.name}: {arm['rounds'][round_idx]:.2f} t/s")

    def probe(self, dtype):
        """The ceilings once more; of the product of a format, if the build has it."""
        file = f"probe-{dtype}-{len(self.probes)}.json"
        for name in (GEMM_OF[dtype], "f32"):
            try:
                self.probes.append(self.benchinf.probe([name], file))
                self.files.setdefault(f"probe-{name}", []).append(file)
                return
            except ArmFailed as failure:
                self.leave_out(f"ceiling of {name} products", failure)

    def where(self):
        """What a word takes between two threads, before and after a read of memory now, in
        nanoseconds; None where that cannot be told."""
        if self.asks_where:
            try:
                return self.benchinf.where()
            except ArmFailed as failure:
                self.leave_out("where threads run", failure)
        return [None, None]

    # What the rounds were measured under

    def note_load(self, name, shares, seconds):
        if shares.get("major_faults"):
            self.warn(f"{name} read from the disk while it was timed; there is too little memory")
        sums = self.load.setdefault(name, dict(seconds=0.0, waiting=0.0, others=0.0, stolen=0.0))
        sums["seconds"] += seconds
        keys = dict(waiting="waiting_share", others="other_load_share", stolen="steal_share")
        for key, share in keys.items():
            sums[key] += (shares.get(share) or 0.0) * seconds

    def warn(self, line):
        if line not in self.warnings:
            self.warnings.append(line)
            say(f"warning: {line}")

    def judge_load(self):
        for name, sums in self.load.items():
            for key, limit, who in (
                ("waiting", MAX_WAITING, "waiting workers"),
                ("others", MAX_OTHERS, "other processes"),
                ("stolen", MAX_OTHERS, "the hypervisor"),
            ):
                share = sums[key] / sums["seconds"]
                if share > limit:
                    self.warn(f"{who} took {100 * share:.0f} % of the processors during {name}")
        if self.options.rounds < 5:
            self.warn(f"rounds: {self.options.rounds}; five or more are wanted (--rounds)")

    def run(self):
        """Everything; the result."""
        options = self.options
        say(f"drawing the weights of {options.model} into {self.folder}")
        checkpoint.write(self.config, options.seed, self.folder, options.threads)
        for dtype in options.dtype:
            ours, workers = self.start(dtype)
            try:
                for depth in options.n_depth:
                    for batch in options.batch_size:
                        self.measure(dtype, depth, batch, ours, workers)
            finally:
                for worker in workers.values():
                    worker.stop()
        self.judge_load()
        return self.result()

    def result(self):
        options, best = self.options, ceilings(self.probes)
        where = places(self.rows, self.probes) if self.asks_where else []
        tool = (self.result_file or {}).get("tool", {})
        machine = (self.result_file or {}).get("environment", {})
        return dict(
            format="benchinf-peers",
            format_version="1.1",
            started=self.started,
            benchinf=dict(version=self.benchinf.version(), tool=tool),
            machine=dict(
                processor=machine.get("cpu", {}).get("model", "an unknown processor"),
                environment=machine,
            ),
            settings=dict(
                model=options.model,
                seed=options.seed,
                dtypes=options.dtype,
                n_threads=options.threads,
                rounds=options.rounds,
                min_seconds=options.min_seconds,
                max_seconds=options.max_seconds,
                n_check_tokens=N_CHECK_TOKENS,
                n_check_single=N_CHECK_SINGLE,
            ),
            packages=self.environment.packages(),
            arms=[dict(name=name) | about for name, about in self.arms.items()],
            checks=self.checks,
            ceilings=best,
            places=where,
            rows=evaluate(self.rows, best, where),
            load={
                name: {f"{key}_share": sums[key] / sums["seconds"] for key in LOADS}
                for name, sums in self.load.items()
            },
            left_out=self.left_out,
            warnings=self.warnings,
        )

    def merged_files(self, folder):
        """benchinf's own result files, the rounds of each merged, into a folder."""
        for slug, files in self.files.items():
            target = pathlib.Path(folder) / f"{slug}.json"
            if len(files) == 1:
                target.write_bytes((self.turns / files[0]).read_bytes())
                continue
            # Beside the rounds first: a file that is kept names no folder of this machine.
            done = self.benchinf.merge(files, target.name)
            if done.returncode != 0:
                self.warn(f"the result files of {slug} do not merge: {self.benchinf.said(done)}")
                continue
            shutil.move(self.turns / target.name, target)
