# SPDX-License-Identifier: MIT
"""Times ito beside PyTorch, ONNX Runtime and OpenVINO: same weights, same threads, taking turns in one run.

Every competitor is a process of its own that answers lines on stdin ("time SECONDS", "output FILE", "memory"), so that
they share nothing and are idle while another is timed. ito's is `bench --serve`; the others are this file with --worker.
PyTorch competes four times: NCHW and channels-last, each as it is and with torch.compile; the best counts. What is not
installed or not ready in time is reported as missing. Tables are written after every row. See peers.sh for what it needs.
"""
import argparse
import fcntl
import json
import os
import pathlib
import platform
import select
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
STARTED = time.monotonic()


# ---- competitors: each worker prints one line when it is ready, then answers requests

def current_memory_mb(key="VmHWM"):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024e-6 for line in status if line.startswith(key + ":"))


def load_arrays(folder):
    import numpy as np
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    for name in ("input", "noise"):
        if name in arrays and arrays[name].ndim == 4:
            arrays[name] = np.ascontiguousarray(arrays[name].transpose(0, 3, 1, 2))
    return arrays


def torch_network(folder):
    """UNet2DModel of a folder that `bench --save` wrote, as a module of (x, times, labels)."""
    import torch
    from diffusers import UNet2DModel

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = UNet2DModel.from_pretrained(folder / "model" / "unet", low_cpu_mem_usage=False)

        def forward(self, x, times, labels=None):
            return self.unet(x, times, labels, return_dict=False)[0]

    return Network()


def seconds_of(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def in_variant(network, args):
    """The network as the competitor's variant wants it: (network to call, memory format of what goes in)."""
    import torch
    layout = torch.channels_last if "channels-last" in args.variant else torch.contiguous_format
    network = network.to(memory_format=layout)
    if "compiled" in args.variant:
        import torch._inductor.config as inductor
        inductor.freezing = not network.training  # weights become constants and are packed for the kernels
        if args.isa == "avx2":
            inductor.cpp.simdlen = 256
        network = torch.compile(network)
    return network, layout


def torch_inputs(folder):
    """x, times and labels or None"""
    import torch
    arrays = load_arrays(folder)
    return [torch.from_numpy(arrays[k]) if k in arrays else None for k in ("input", "times", "labels")]


def torch_forward(args, folder):
    import torch
    x, times, labels = torch_inputs(folder)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    network, layout = in_variant(torch_network(folder).eval().requires_grad_(False).to(dtype), args)
    x = x.to(dtype=dtype, memory_format=layout)

    @torch.no_grad()
    def run():
        return network(x, times, labels)
    return run, lambda: run().float().permute(0, 2, 3, 1)


def torch_train(args, folder):
    import torch
    x, times, labels = torch_inputs(folder)
    network = torch_network(folder).train()
    trained, layout = in_variant(network, args)
    x, target = x.to(memory_format=layout), torch.from_numpy(load_arrays(folder)["noise"]).to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)

    def run():
        loss = torch.nn.functional.mse_loss(trained(x, times, labels), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()
    losses = torch.stack([run() for _ in range(3)])
    return run, lambda: losses


def torch_sampler(folder, run_network, x, labels, steps):
    """diffusers' own loop with its DDIM scheduler: what its pipelines do, less their progress bars."""
    import torch
    from diffusers import DDIMScheduler
    scheduler = DDIMScheduler.from_pretrained(folder / "model" / "scheduler", timestep_spacing="trailing")

    @torch.no_grad()
    def run():
        scheduler.set_timesteps(steps)
        state = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            said = run_network(scheduler.scale_model_input(state, t), t.float().expand(len(state)), labels)
            state = scheduler.step(said, t, state).prev_sample
        return state
    return run


def torch_sample(args, folder):
    x, times, labels = torch_inputs(folder)
    network, layout = in_variant(torch_network(folder).eval().requires_grad_(False), args)
    run = torch_sampler(folder, network, x.to(memory_format=layout), labels, len(times))
    return run, lambda: run().permute(0, 2, 3, 1)


def torch_attention(args, folder):
    import torch
    arrays = load_arrays(folder)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    q, k, v = (torch.from_numpy(arrays[n]).unflatten(2, (8, 64)).transpose(1, 2).to(dtype) for n in "qkv")

    @torch.inference_mode()
    def run():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return run, lambda: run().float().transpose(1, 2).flatten(2)


def export_onnx(args, folder):
    """Writes the network for ONNX Runtime and OpenVINO."""
    import torch
    given = [t for t in torch_inputs(folder) if t is not None]
    torch.onnx.export(torch_network(folder).eval(), tuple(given), folder / "network.onnx", dynamo=True, optimize=True,
                      input_names=["input", "times", "labels"][:len(given)], output_names=["output"])


def onnx_inputs(folder):
    return {k: v for k, v in load_arrays(folder).items() if k in ("input", "times", "labels")}


def onnxruntime_forward(args, folder):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(str(folder / "network.onnx"), options, providers=["CPUExecutionProvider"])
    given = onnx_inputs(folder)

    def run():
        return session.run(None, given)[0]
    return run, lambda: run().transpose(0, 2, 3, 1)


def openvino_forward(args, folder):
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(folder / "network.onnx")), "CPU", {
        "INFERENCE_NUM_THREADS": args.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "ENABLE_HYPER_THREADING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if args.precision == "bf16" else "f32"})
    request, given = compiled.create_infer_request(), onnx_inputs(folder)

    def run():
        return request.infer(given, share_inputs=True)
    return run, lambda: run()[0].transpose(0, 2, 3, 1)


WORKERS = {("torch", "forward"): torch_forward, ("torch", "train"): torch_train, ("torch", "sample"): torch_sample,
           ("torch", "attention"): torch_attention, ("onnxruntime", "forward"): onnxruntime_forward,
           ("openvino", "forward"): openvino_forward}


def worker(args):
    import numpy as np
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    def answer(value):
        print(json.dumps(value), file=answers, flush=True)
    try:
        if args.worker == "torch":
            import torch
            torch.set_num_threads(args.threads)
        elif args.worker == "export":
            export_onnx(args, args.folder)
            return answer("exported")
        elif args.cpus:  # OpenVINO keeps its threads where it finds itself
            os.sched_setaffinity(0, args.cpus)
        base = current_memory_mb("VmRSS")
        version = __import__(args.worker).__version__.split("-")[0]
        run, output = WORKERS[args.worker, args.what](args, args.folder)
        for _ in range(2):
            run()
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"[:300]})
        return
    answer({"version": version})
    for line in sys.stdin:
        request, _, argument = line.strip().partition(" ")
        if request == "time":
            times, spent = [], 0.0
            while not times or spent < float(argument):
                times.append(1000 * seconds_of(run))
                spent += times[-1] / 1000
            answer(times)
        elif request == "output":
            np.save(argument, np.asarray(output(), dtype=np.float32))
            answer("saved")
        elif request == "memory":
            answer({"peak_rss_mb": current_memory_mb(), "before_load_mb": base})


def first_picture(args):
    """All that a user's script does, in a process of its own."""
    import numpy as np
    import torch
    torch.set_num_threads(args.threads)
    from PIL import Image
    arrays = load_arrays(args.folder)
    network = torch_network(args.folder).eval().requires_grad_(False)
    labels = torch.from_numpy(arrays["labels"][:1]) if "labels" in arrays else None
    x = torch.randn(1, *arrays["input"].shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        picture = torch_sampler(args.folder, network, x, labels, len(arrays["times"]))()[0]
    picture = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture.squeeze()).save(args.folder / "first-python.png")


# ---- the driver

FRAMEWORKS = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


class Competitor:
    """A process that is timed, in one of its framework's variants. `error` says why it is not there."""

    def __init__(self, framework, variant, command, environment=None):
        self.framework, self.variant, self.error, self.rounds = framework, variant, None, []
        self.name = framework + (" " + variant if variant else "")
        self.log = open(os.environ.get("ITO_PEERS_LOG", os.devnull), "a")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, env={**os.environ, **(environment or {})})

    def read(self, patience):
        """What the process says next; None with `error` set where it says nothing in so many seconds."""
        said = {"error": f"nothing heard for {patience:.0f} s"}
        if select.select([self.process.stdout], [], [], patience)[0]:
            line = self.process.stdout.readline()
            said = json.loads(line) if line else {"error": f"ended with status {self.process.wait()}"}
        if isinstance(said, dict) and "error" in said:
            self.error = said["error"]
            self.end()
            return None
        return said

    def ask(self, request, patience=120):
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.error = "ended"
            self.end()
            return None
        return self.read(patience)

    def stay_on(self, cpus):
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), cpus)

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def say(*words):
    print(f"{time.monotonic() - STARTED:5.0f} s ", *words, file=sys.stderr, flush=True)


class Run:
    def __init__(self, args):
        self.args = args
        self.results = []

    def add(self, row):
        self.results.append(row)
        self.write()

    def write(self):
        known = {"processor": processor(), "threads": self.args.threads, "isa": self.args.isa, "cpus": sorted(self.args.cpus)}
        (self.args.out / (self.args.name + ".json")).write_text(json.dumps({**known, "rows": self.results}, indent=1, default=str))
        (self.args.out / (self.args.name + ".md")).write_text(table(self.results, self.args))

    def bench(self, settings, *more):
        command = [self.args.bench, "--threads", self.args.threads]
        for key, value in settings.items():
            command += ["--" + key, value]
        return command + list(more)

    def start(self, framework, variant, settings, folder):
        environment = {"OMP_NUM_THREADS": str(self.args.threads), "CUDA_VISIBLE_DEVICES": ""}
        if self.args.isa == "avx2":
            environment.update(ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2")
        command = [sys.executable, HERE, "--worker", framework, "--variant", variant, "--what", settings["what"], "--folder", folder,
                   "--threads", self.args.threads, "--precision", settings.get("precision", "fp32"), "--isa", self.args.isa,
                   "--cpus", ",".join(map(str, sorted(self.args.cpus)))]
        return Competitor(framework, variant, command, environment)

    def start_all(self, frameworks, settings, folder):
        """Every framework in every variant, ready or with an error; torch.compile works at the same time for all."""
        started = []
        if "torch" in frameworks:
            variants = [""] if settings["what"] == "attention" else ["NCHW", "channels-last"]
            if settings["what"] != "attention" and self.args.compile:
                variants += [v + ", compiled" for v in variants]
            started += [self.start("torch", v, settings, folder) for v in variants]
        exported = [f for f in frameworks if f in ("onnxruntime", "openvino")]
        if exported:
            export = self.start("export", "", settings, folder)
            export.read(self.args.patience)
            export.end()
            started += [self.start(f, "", settings, folder) for f in exported]
        until = time.monotonic() + self.args.patience
        for c in started:
            c.about = c.read(max(1, until - time.monotonic()))
            if not c.error and self.args.cpus:
                c.stay_on(self.args.cpus)
        return started

    def compare(self, title, settings, frameworks, seconds, tolerance, rounds):
        """One row: everybody is started, checked against ito's output, then timed in turns."""
        import numpy as np
        if time.monotonic() - STARTED > self.args.until:
            return say("==", title, "is left out: no time")
        say("==", title)
        folder = self.args.work / title.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("network.onnx*"):
            old.unlink()
        ito = Competitor("ito", "", self.bench(settings, "--serve", "--save", folder))
        about = ito.read(self.args.patience)
        if ito.error:
            return self.add({"title": title, "error": ito.error})
        if self.args.cpus:
            ito.stay_on(self.args.cpus)
        peers = self.start_all(frameworks, settings, folder)
        row = {"title": title, **settings, "about": about, "peers": {}}
        expected = np.load(folder / "output.npy")
        scale = max(1.0, float(np.abs(expected).max()))
        for c in peers:
            file = folder / "other.npy"
            if not c.error and c.ask(f"output {file}"):
                difference = float(np.abs(np.load(file) - expected).max()) / scale
                c.about.update(difference=difference, agrees=difference <= tolerance)
                say("  ", c.name, f"differs by {difference:.1e}", "" if difference <= tolerance else "TOO MUCH")
            if c.error:
                say("  ", c.name, "is missing:", c.error)
        running, peaks = [ito] + [c for c in peers if not c.error], []
        for turn in range(rounds):
            peaks.append(ito.ask("peak") or 0)
            for c in [c for c in running if not c.error]:
                if seconds == 0 or c.ask("time 0"):  # wakes its threads and caches
                    c.rounds.append(c.ask(f"time {seconds}"))
            running = [c for c in running if not c.error]
            if turn == 0:  # those that cannot be the best of their framework any more
                middle = lambda c: statistics.median(c.rounds[0])
                best = {c.framework: min(middle(d) for d in running if d.framework == c.framework) for c in running}
                running = [c for c in running if middle(c) < 1.5 * best[c.framework]]
            if ito.error:
                return self.add({"title": title, "error": ito.error})
        row["peak_gflops"] = max(peaks)
        for c in [ito] + peers:
            entry = row if c is ito else row["peers"].setdefault(c.name, {"framework": c.framework, "variant": c.variant, **(c.about or {})})
            if c.error:
                entry["error"] = c.error
                continue
            times = [t for r in c.rounds for t in r]
            entry.update(best_ms=min(times), median_ms=statistics.median(times), repeats=len(times), rounds=len(c.rounds),
                         percent_of_peak=100 * about.get("gflop", 0) / min(times) * 1000 / max(peaks))
            if c is not ito:  # the middle of the rounds' ratios: what disturbs one round disturbs both
                ratios = [statistics.median(r) / statistics.median(m) for r, m in zip(c.rounds, ito.rounds)]
                entry.update(ratio=statistics.median(ratios), lowest_ratio=min(ratios), ratio_of_best=min(times) / row["best_ms"])
            say(f"   {c.name}: best {min(times):.2f} ms, median {statistics.median(times):.2f} ms, "
                f"{entry['percent_of_peak']:.0f}% of peak" + (f", ito is {entry['ratio']:.2f} times as fast" if c is not ito else ""))
        for c in [ito] + peers:
            if not c.error:
                c.end()
        self.add(row)

    def first_picture(self, model):
        if time.monotonic() - STARTED > self.args.until:
            return say("== first picture is left out: no time")
        say("== process start to first picture")
        folder = self.args.work / "first-picture"
        settings, row = {"what": "sample", "batch": 1, "steps": 20}, {"title": "start to first picture, 20 steps", "peers": {}}
        saved = subprocess.run([str(c) for c in self.bench({**settings, "model": model}, "--save", folder, "--seconds", "0")],
                               capture_output=True, text=True)
        if saved.returncode:
            return self.add({**row, "error": saved.stderr.strip()[-300:]})
        pinned = ["taskset", "-c", ",".join(map(str, sorted(self.args.cpus)))] if self.args.cpus else []
        commands = {"ito": pinned + self.bench({**settings, "model": folder / "model"}, "--png", folder / "first-ito.png"),
                    "torch": pinned + [sys.executable, HERE, "--first-picture", "--folder", folder, "--threads", self.args.threads]}
        times, failed = {name: [] for name in commands}, {}
        for _ in range(1 + max(3, self.args.rounds // 2)):
            for name, command in commands.items():
                if name in failed:
                    continue
                begin = time.perf_counter()
                done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
                times[name].append(1000 * (time.perf_counter() - begin))
                if done.returncode:
                    failed[name] = done.stderr.strip()[-300:]
                    say("  ", name, "is missing:", failed[name])
        if "ito" in failed:
            return self.add({**row, "error": failed["ito"]})
        for name in times:
            times[name] = times[name][1:]  # the first fills the file cache
        row.update(best_ms=min(times["ito"]), median_ms=statistics.median(times["ito"]))
        row["peers"]["torch"] = theirs = {"framework": "torch", "variant": "NCHW"}
        if "torch" in failed:
            theirs["error"] = failed["torch"]
        else:
            theirs.update(best_ms=min(times["torch"]), median_ms=statistics.median(times["torch"]),
                          ratio=statistics.median(t / m for t, m in zip(times["torch"], times["ito"])))
            say(f"   ito {row['median_ms']:.0f} ms, Python {theirs['median_ms']:.0f} ms: {theirs['ratio']:.1f} times sooner")
        self.add(row)

    def memory(self, settings):
        say("== peak memory")
        folder = self.args.work / "memory"
        row = {"title": "{model} {what}, batch {batch}: peak memory".format(**settings), "peers": {}}
        subprocess.run([str(c) for c in self.bench(settings, "--save", folder, "--seconds", "0")], capture_output=True)
        done = subprocess.run([str(c) for c in self.bench({**settings, "model": folder / "model"}, "--json", "--seconds", "1")], capture_output=True, text=True)
        if done.returncode:
            return self.add({**row, "error": done.stderr.strip()[-300:]})
        mine = json.loads(done.stdout)
        row.update(peak_rss_mb=mine["peak_rss_mb"], before_load_mb=mine["before_load_mb"], allocations_per_step=mine["allocations_per_step"])
        say(f"   ito: {row['peak_rss_mb']:.0f} MB, {row['before_load_mb']:.0f} of them before the model is loaded")
        for variant in ("NCHW", "channels-last") if "torch" in self.args.peers else ():
            c = self.start("torch", variant, settings, folder)
            theirs = row["peers"][c.name] = {"framework": "torch", "variant": variant}
            if c.read(self.args.patience) and (said := c.ask("memory")):
                theirs.update(said, ratio=said["peak_rss_mb"] / row["peak_rss_mb"],
                              ratio_over_start=(said["peak_rss_mb"] - said["before_load_mb"]) / (row["peak_rss_mb"] - row["before_load_mb"]))
                say(f"   {c.name}: {said['peak_rss_mb']:.0f} MB, {said['before_load_mb']:.0f} of them before the model is loaded")
                c.end()
            else:
                theirs["error"] = c.error
        self.add(row)


def best_of(row, framework, key):
    """The framework's variant with the least of `key`, or none; and why there is none."""
    entries = [e for e in row["peers"].values() if e["framework"] == framework]
    there = [e for e in entries if key in e]
    return min(there, key=lambda e: e[key]) if there else None, "missing" if entries else ""


def table(results, args):
    shown = [f for f in FRAMEWORKS if f in args.peers]
    lines = [f"{processor()}, {args.threads} threads" + (", AVX2 only" if args.isa == "avx2" else ""), "",
             "| work | ito | of the FMA peak | " + " | ".join(f"{FRAMEWORKS[f]} | ito is better by" for f in shown) + " |",
             "|---|--:|--:|" + "--:|--:|" * len(shown)]
    for row in results:
        if "error" in row:
            lines.append(f"| {row['title']} | {row['error']} |" + " |" * (1 + 2 * len(shown)))
            continue
        key, unit = ("peak_rss_mb", "MB") if "peak_rss_mb" in row else ("median_ms", "ms")
        share = f"{row['percent_of_peak']:.0f}%" if row.get("percent_of_peak") else ""
        cells = [row["title"], f"{row[key]:.{0 if row[key] > 100 else 1}f} {unit}", share]
        for framework in shown:
            best, why = best_of(row, framework, key)
            if best is None:
                cells += [why, ""]
                continue
            variant = f" ({best['variant']})" if best["variant"] else ""
            cells += [f"{best[key]:.{0 if best[key] > 100 else 1}f} {unit}{variant}" + ("" if best.get("agrees", True) else ", outputs differ"),
                      f"{best['ratio']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def drive(args):
    for folder in (args.out, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    everybody = args.peers
    torch_only = [p for p in everybody if p == "torch"]
    for part in args.only:
        if part == "forward":
            for model, batch in args.shapes:
                run.compare(f"{model} forward, batch {batch}", {"model": model, "what": "forward", "batch": batch}, everybody, args.seconds, 1e-4, args.rounds)
        elif part == "train":
            for batch in (16, 64):
                run.compare(f"demo training step, batch {batch}", {"model": "demo", "what": "train", "batch": batch}, torch_only, args.seconds, 1e-4, args.rounds)
        elif part == "sample":
            run.compare("sampling, 64 pictures, 20 steps", {"model": args.model, "what": "sample", "batch": 64, "steps": 20}, torch_only, 0, 1e-4, max(3, args.rounds // 2))
        elif part == "attention":
            for tokens in (1024, 4096):
                run.compare(f"attention, {tokens} tokens", {"what": "attention", "tokens": tokens}, torch_only, args.seconds, 1e-4, args.rounds)
        elif part == "picture":
            run.first_picture(args.model)
        elif part == "memory":
            run.memory({"model": "cifar10", "what": "forward", "batch": 8})
        else:
            raise SystemExit(f"--only {part}: forward, train, sample, attention, picture or memory")
    run.write()
    print(table(run.results, args))
    differing = [(r["title"], p) for r in run.results for p, e in r.get("peers", {}).items() if not e.get("agrees", True)]
    for title, peer in differing:
        say(f"{title}: {peer} and ito do not agree")
    return 1 if differing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    split = lambda text: [word for word in text.split(",") if word]
    parser.add_argument("--bench", type=pathlib.Path, help="ito's bench program")
    parser.add_argument("--model", type=pathlib.Path, default=HERE.parents[2] / "examples/models/fashion-mnist", help="model folder for sampling")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peers"), help="folder for the tables")
    parser.add_argument("--work", type=pathlib.Path, help="folder for exported networks (OUT/work)")
    parser.add_argument("--name", default="peers", help="name of the results' files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", type=lambda text: {int(c) for c in split(text)}, default=set(), help="where everybody is timed, for example 0,2")
    parser.add_argument("--isa", choices=["native", "avx2"], default="native", help="avx2: the peers are told to stay there")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one turn")
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait until everybody is ready, torch.compile for example")
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds after which no further row is begun")
    parser.add_argument("--only", type=split, default=split("forward,train,sample,attention,picture,memory"))
    parser.add_argument("--shapes", type=lambda text: [(m, int(b)) for m, _, b in (w.partition(":") for w in split(text))],
                        default=[("demo", 1), ("demo", 16), ("cifar10", 1), ("cifar10", 8)], help="what goes forward: MODEL:BATCH,..")
    parser.add_argument("--peers", type=split, default=split("torch,onnxruntime,openvino"))
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--first-picture", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--variant", default="", help=argparse.SUPPRESS)
    parser.add_argument("--what", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="fp32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    if args.first_picture:
        return first_picture(args)
    if args.bench is None:
        parser.error("--bench names ito's bench program")
    args.bench = args.bench.resolve()
    args.work = args.work or args.out / "work"
    return drive(args)


if __name__ == "__main__":
    sys.exit(main())
