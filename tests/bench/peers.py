# SPDX-License-Identifier: MIT
"""Times ito beside PyTorch, ONNX Runtime and OpenVINO: same weights, same threads, taking turns in one run.

Every competitor is a process of its own that answers lines on stdin ("time SECONDS", "output FILE", "memory"), so that
they share nothing and are idle while another is timed. ito's is `bench --serve`; the others are this file with --worker.
Whatever is not installed is reported as missing. Needs numpy; see peers.sh for the rest.
"""
import argparse
import fcntl
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()


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


def torch_variants(network, compiled):
    """Ways to run the same network: (name, network, memory format), the best of which is timed."""
    import torch
    for name, layout in (("NCHW", torch.contiguous_format), ("channels-last", torch.channels_last)):
        yield name, network, layout
        if compiled:
            yield name + ", compiled", torch.compile(network), layout


def seconds_of(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def pick_best(makers):
    """The fastest of several ways to do the same: (name, function, {name: seconds})."""
    chosen, times = None, {}
    for name, make in makers:
        try:
            function = make()
            function()  # compiles, allocates
            times[name] = min(seconds_of(function) for _ in range(3))
        except Exception as error:  # a compiler that is missing is no reason to lose the others
            times[name] = None
            print(f"torch, {name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
            continue
        if chosen is None or times[name] < times[chosen[0]]:
            chosen = (name, function)
    return chosen[0], chosen[1], times


def torch_forward(args, folder):
    import torch
    arrays = load_arrays(folder)
    network = torch_network(folder).eval().requires_grad_(False)
    x, times = torch.from_numpy(arrays["input"]), torch.from_numpy(arrays["times"])
    labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32

    def maker(module, layout):
        def make():
            module.to(dtype=dtype, memory_format=layout)
            given = x.to(dtype=dtype, memory_format=layout)
            return lambda: torch.inference_mode()(module)(given, times, labels)
        return make

    name, run, tried = pick_best([(n, maker(m, l)) for n, m, l in torch_variants(network, args.compile)])
    network.to(memory_format=torch.channels_last if "last" in name else torch.contiguous_format)
    return run, lambda: run().float().permute(0, 2, 3, 1), {"variant": name, "tried": tried}


def torch_train(args, folder):
    import torch
    arrays = load_arrays(folder)
    x, times, noise = (torch.from_numpy(arrays[k]) for k in ("input", "times", "noise"))
    labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None

    def stepper(network, trained, layout, fused):
        network.train().to(memory_format=layout)
        given, target = x.to(memory_format=layout), noise.to(memory_format=layout)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=fused)

        def step():
            loss = torch.nn.functional.mse_loss(trained(given, times, labels), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return loss
        return step

    network = torch_network(folder)
    step = stepper(network, network, torch.contiguous_format, False)
    losses = torch.stack([step().detach() for _ in range(3)])

    def maker(trained, layout, fused):
        return lambda: stepper(network, trained, layout, fused)

    ways = []
    for name, trained, layout in torch_variants(network, args.compile):
        ways += [(name, maker(trained, layout, False)), (name + ", fused AdamW", maker(trained, layout, True))]
    name, run, tried = pick_best(ways)
    network.to(memory_format=torch.channels_last if "last" in name else torch.contiguous_format)
    return run, lambda: losses, {"variant": name, "tried": tried}


def torch_sampler(folder, run_network, x, labels, steps):
    """diffusers' own loop with its DDIM scheduler: what its pipelines do, less their progress bars."""
    import torch
    from diffusers import DDIMScheduler
    scheduler = DDIMScheduler.from_pretrained(folder / "model" / "scheduler", timestep_spacing="trailing")

    @torch.inference_mode()
    def run():
        scheduler.set_timesteps(steps)
        state = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            said = run_network(scheduler.scale_model_input(state, t), t.float().expand(len(state)), labels)
            state = scheduler.step(said, t, state).prev_sample
        return state
    return run


def torch_sample(args, folder):
    import torch
    arrays = load_arrays(folder)
    network = torch_network(folder).eval().requires_grad_(False)
    x = torch.from_numpy(arrays["input"])
    labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None

    def maker(module, layout):
        def make():
            module.to(memory_format=layout)
            return torch_sampler(folder, module, x.to(memory_format=layout), labels, len(arrays["times"]))
        return make

    name, run, tried = pick_best([(n, maker(m, l)) for n, m, l in torch_variants(network, args.compile)])
    network.to(memory_format=torch.channels_last if "last" in name else torch.contiguous_format)
    return run, lambda: run().permute(0, 2, 3, 1), {"variant": name, "tried": tried}


def torch_attention(args, folder):
    import torch
    arrays = load_arrays(folder)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    q, k, v = (torch.from_numpy(arrays[n]).unflatten(2, (8, 64)).transpose(1, 2).to(dtype) for n in "qkv")

    @torch.inference_mode()
    def run():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return run, lambda: run().float().transpose(1, 2).flatten(2), {"variant": "scaled_dot_product_attention"}


def onnx_file(folder):
    """Exports the network once for ONNX Runtime and OpenVINO."""
    path = folder / "network.onnx"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            import torch
            arrays = load_arrays(folder)
            given = [torch.from_numpy(arrays[k]) for k in ("input", "times", "labels") if k in arrays]
            torch.onnx.export(torch_network(folder).eval(), tuple(given), path, dynamo=True, optimize=True,
                              input_names=["input", "times", "labels"][:len(given)], output_names=["output"])
    return path, {k: v for k, v in load_arrays(folder).items() if k in ("input", "times", "labels")}


def onnxruntime_forward(args, folder):
    import onnxruntime
    path, given = onnx_file(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run():
        return session.run(None, given)[0]
    return run, lambda: run().transpose(0, 2, 3, 1), {"variant": "onnxruntime " + onnxruntime.__version__}


def openvino_forward(args, folder):
    import openvino
    path, given = onnx_file(folder)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {
        "INFERENCE_NUM_THREADS": args.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if args.precision == "bf16" else "f32"})
    request = compiled.create_infer_request()

    def run():
        return request.infer(given, share_inputs=True)
    return run, lambda: run()[0].transpose(0, 2, 3, 1), {"variant": "openvino " + openvino.__version__.split("-")[0]}


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
        base = current_memory_mb("VmRSS")
        run, output, about = WORKERS[args.worker, args.what](args, args.folder)
        run()
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"[:300]})
        return
    answer(about)
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
    with torch.inference_mode():
        picture = torch_sampler(args.folder, network, x, labels, len(arrays["times"]))()[0]
    picture = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture.squeeze()).save(args.folder / "first-python.png")


# ---- the driver

class Competitor:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.log = open(os.environ.get("ITO_PEERS_LOG", os.devnull), "a")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, env={**os.environ, **(environment or {})})
        self.rounds = []

    def wait_until_ready(self):
        self.about = self.read()
        self.error = self.about.get("error")

    def stay_on(self, cpus):
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), cpus)

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"ended with status {self.process.wait()}"}

    def ask(self, request):
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": "ended"}
        return self.read()

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Run:
    def __init__(self, args):
        self.args = args
        self.results = []

    def bench(self, settings, *more):
        command = [self.args.bench, "--threads", self.args.threads]
        for key, value in settings.items():
            command += ["--" + key, value]
        return command + list(more)

    def worker(self, name, settings, folder):
        command = [sys.executable, HERE, "--worker", name, "--what", settings["what"], "--folder", folder, "--threads", self.args.threads,
                   "--precision", settings.get("precision", "fp32")]
        return command + ([] if self.args.compile else ["--no-compile"])

    def compare(self, title, settings, peers, seconds, tolerance):
        """One row: everybody is started, checked against ito's output, then timed in turns."""
        import numpy as np
        say("==", title)
        folder = self.args.out / "work" / title.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("network.onnx*"):
            old.unlink()
        everybody = [Competitor("ito", self.bench(settings, "--serve", "--save", folder))]
        everybody[0].wait_until_ready()
        if everybody[0].error:
            say("   ito:", everybody[0].error)
            self.results.append({"title": title, "error": everybody[0].error})
            return
        environment = {"OMP_NUM_THREADS": str(self.args.threads)}
        if self.args.isa == "avx2":
            environment.update(ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", OV_CPU_MAX_ISA="AVX2")
        for peer in peers:
            everybody.append(Competitor(peer, self.worker(peer, settings, folder), environment))
        for c in everybody[1:]:
            c.wait_until_ready()
        row = {"title": title, **settings, "about": everybody[0].about, "peers": {}}
        expected = np.load(folder / "output.npy")
        scale = max(1.0, float(np.abs(expected).max()))
        for c in everybody[1:]:
            row["peers"][c.name] = {"about": c.about}
            if c.error:
                say("  ", c.name, "is missing:", c.error)
                continue
            c.ask(f"output {folder / (c.name + '.npy')}")
            difference = float(np.abs(np.load(folder / (c.name + ".npy")) - expected).max()) / scale
            row["peers"][c.name].update(difference=difference, agrees=difference <= tolerance)
            say("  ", c.name, c.about.get("variant", ""), f"differs by {difference:.1e}", "" if difference <= tolerance else "TOO MUCH")
        running = [c for c in everybody if not c.error]
        for c in running:
            if self.args.cpus:
                c.stay_on(self.args.cpus)
        peaks = []
        for _ in range(self.args.rounds):
            peaks.append(everybody[0].ask("peak"))
            for c in running:
                c.ask("time 0")  # wakes its threads and caches
                c.rounds.append(c.ask(f"time {seconds}"))
        flops = everybody[0].about.get("gflop", 0)
        row["peak_gflops"] = max(peaks)
        for c in running:
            times = [t for r in c.rounds for t in r]
            entry = row if c.name == "ito" else row["peers"][c.name]
            entry.update(best_ms=min(times), median_ms=statistics.median(times), repeats=len(times),
                         percent_of_peak=100 * flops / min(times) * 1000 / max(peaks))
            if c.name != "ito":  # the middle of the rounds' ratios: what disturbs one round disturbs both
                mine = [statistics.median(r) for r in everybody[0].rounds]
                entry["ratio"] = statistics.median(statistics.median(r) / m for r, m in zip(c.rounds, mine))
                entry["ratio_of_best"] = min(times) / row["best_ms"]
            say(f"   {c.name}: best {min(times):.2f} ms, median {statistics.median(times):.2f} ms, "
                f"{entry['percent_of_peak']:.0f}% of peak" + (f", ito is {entry['ratio']:.2f} times as fast" if c.name != "ito" else ""))
        for c in everybody:
            c.end()
        self.results.append(row)

    def first_picture(self, model):
        say("== process start to first picture")
        folder = self.args.out / "work" / "first-picture"
        saved = subprocess.run([str(c) for c in self.bench({"model": model, "what": "sample", "batch": 1, "steps": 20}, "--save", folder, "--seconds", "0")],
                               capture_output=True, text=True)
        row = {"title": "first picture", "peers": {}}
        self.results.append(row)
        if saved.returncode:
            row["error"] = saved.stderr.strip()
            return say("  ", row["error"])
        pinned = ["taskset", "-c", ",".join(map(str, sorted(self.args.cpus)))] if self.args.cpus else []
        commands = {"ito": pinned + self.bench({"model": folder / "model", "what": "sample", "batch": 1, "steps": 20}, "--png", folder / "first-ito.png"),
                    "torch": pinned + [sys.executable, HERE, "--first-picture", "--folder", folder, "--threads", self.args.threads]}
        times = {name: [] for name in commands}
        for _ in range(max(3, self.args.rounds // 2)):
            for name, command in list(commands.items()):
                begin = time.perf_counter()
                done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
                times[name].append(1000 * (time.perf_counter() - begin))
                if done.returncode:
                    row["peers"][name] = {"about": {"error": done.stderr.strip()[-300:]}}
                    say("  ", name, "is missing:", done.stderr.strip()[-300:])
                    del commands[name]
        row.update(best_ms=min(times["ito"]), median_ms=statistics.median(times["ito"]))
        if "torch" in commands:
            ratio = statistics.median(t / m for t, m in zip(times["torch"], times["ito"]))
            row["peers"]["torch"] = {"about": {"variant": "eager"}, "best_ms": min(times["torch"]), "median_ms": statistics.median(times["torch"]), "ratio": ratio}
            say(f"   ito {row['median_ms']:.0f} ms, Python {row['peers']['torch']['median_ms']:.0f} ms: {ratio:.1f} times sooner")

    def memory(self, settings):
        say("== peak memory, cifar10 forward, batch 8")
        folder = self.args.out / "work" / "memory"
        subprocess.run([str(c) for c in self.bench(settings, "--save", folder, "--seconds", "0")], capture_output=True)
        done = subprocess.run([str(c) for c in self.bench({**settings, "model": folder / "model"}, "--json", "--seconds", "1")], capture_output=True, text=True)
        row = {"title": "peak memory, cifar10 forward, batch 8", "peers": {}}
        self.results.append(row)
        if done.returncode:
            row["error"] = done.stderr.strip()
            return say("  ", row["error"])
        mine = json.loads(done.stdout)
        row.update(peak_rss_mb=mine["peak_rss_mb"], before_load_mb=mine["before_load_mb"])
        say(f"   ito: {row['peak_rss_mb']:.0f} MB, {row['before_load_mb']:.0f} of them before the model is loaded")
        compiled, self.args.compile = self.args.compile, False
        for peer in [p for p in self.args.peers if p == "torch"]:
            c = Competitor(peer, self.worker(peer, {"what": "forward"}, folder))
            c.wait_until_ready()
            row["peers"][peer] = {"about": c.about} if c.error else {"about": c.about, **c.ask("memory")}
            if not c.error:
                theirs = row["peers"][peer]
                theirs["ratio"] = theirs["peak_rss_mb"] / row["peak_rss_mb"]
                theirs["ratio_over_start"] = (theirs["peak_rss_mb"] - theirs["before_load_mb"]) / (row["peak_rss_mb"] - row["before_load_mb"])
                say(f"   {peer}: {theirs['peak_rss_mb']:.0f} MB, {theirs['before_load_mb']:.0f} of them before the model is loaded")
            c.end()
        self.args.compile = compiled


def table(results, args):
    names = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    shown = [p for p in names if p in args.peers]
    lines = ["| work | ito, ms | of the FMA peak | " + " | ".join(f"{names[p]}, ms" for p in shown) + " | ito is faster by |",
             "|---" * (4 + len(shown)) + "|"]
    for row in results:
        if "error" in row or "peak_rss_mb" in row:
            continue
        cells, ratios = [], []
        for p in shown:
            entry = row["peers"].get(p, {})
            if "median_ms" not in entry:
                cells.append("missing" if "error" in entry.get("about", {}) else "")
                continue
            cells.append(f"{entry['median_ms']:.1f}" + ("" if entry.get("agrees", True) else " (outputs differ)"))
            ratios.append(f"{entry['ratio']:.2f}x")
        share = f"{row['percent_of_peak']:.0f}%" if row.get("percent_of_peak") else ""
        lines.append(f"| {row['title']} | {row['median_ms']:.1f} | {share} | " + " | ".join(cells) + " | " + ", ".join(ratios) + " |")
    for row in results:
        if "peak_rss_mb" in row:
            theirs = ", ".join(f"{names[p]} {e['peak_rss_mb']:.0f} MB ({e['ratio']:.1f}x)" for p, e in row["peers"].items() if "peak_rss_mb" in e)
            lines += ["", f"{row['title'].capitalize()}: ito {row['peak_rss_mb']:.0f} MB, {theirs}."]
        if "error" in row:
            lines += ["", f"{row['title'].capitalize()}: {row['error']}"]
    return "\n".join(lines) + "\n"


def processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def drive(args):
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    everybody = args.peers
    torch_only = [p for p in everybody if p == "torch"]
    wanted = lambda part: part in args.only
    if wanted("forward"):
        for model in args.models:
            for batch in args.batches:
                run.compare(f"{model} forward, batch {batch}", {"model": model, "what": "forward", "batch": batch}, everybody, args.seconds, 1e-4)
    if wanted("train"):
        for batch in (16, 64):
            run.compare(f"demo training step, batch {batch}", {"model": "demo", "what": "train", "batch": batch}, torch_only, args.seconds, 1e-4)
    if wanted("sample"):
        run.compare("sampling run, 64 pictures, 20 steps", {"model": args.model, "what": "sample", "batch": 64, "steps": 20}, torch_only, 0, 1e-4)
    if wanted("attention"):
        for tokens in (1024, 4096):
            run.compare(f"attention, {tokens} tokens", {"what": "attention", "tokens": tokens}, torch_only, args.seconds, 1e-4)
    if wanted("bf16"):
        for model in args.models:
            run.compare(f"{model} forward, batch 8, bf16", {"model": model, "what": "forward", "batch": 8, "precision": "bf16"},
                        [p for p in everybody if p != "onnxruntime"], args.seconds, 5e-2)
    if wanted("picture"):
        run.first_picture(args.model)
    if wanted("memory"):
        run.memory({"model": "cifar10", "what": "forward", "batch": 8})
    text = f"{processor()}, {args.threads} threads, {args.isa}\n\n" + table(run.results, args)
    (args.out / (args.name + ".json")).write_text(json.dumps({"processor": processor(), "threads": args.threads, "isa": args.isa, "rows": run.results}, indent=1))
    (args.out / (args.name + ".md")).write_text(text)
    print(text)
    differing = [(r["title"], p) for r in run.results for p, e in r.get("peers", {}).items() if not e.get("agrees", True)]
    for title, peer in differing:
        say(f"{title}: {peer} and ito do not agree")
    return 1 if differing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    split = lambda text: [word for word in text.split(",") if word]
    parser.add_argument("--bench", type=pathlib.Path, help="ito's bench program")
    parser.add_argument("--model", type=pathlib.Path, default=HERE.parents[2] / "examples/models/fashion-mnist", help="model folder for sampling")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peers"), help="folder for results and exported networks")
    parser.add_argument("--name", default="peers", help="name of the results' files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", type=lambda text: {int(c) for c in split(text)}, default=set(), help="where everybody is timed, for example 0,2")
    parser.add_argument("--isa", choices=["native", "avx2"], default="native", help="avx2: the peers are told to stay there")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one turn")
    parser.add_argument("--only", type=split, default=split("forward,train,sample,attention,picture,memory"))
    parser.add_argument("--models", type=split, default=split("demo,cifar10"))
    parser.add_argument("--batches", type=lambda text: [int(b) for b in split(text)], default=[1, 8, 16])
    parser.add_argument("--peers", type=split, default=split("torch,onnxruntime,openvino"))
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--first-picture", action="store_true", help=argparse.SUPPRESS)
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
    return drive(args)


if __name__ == "__main__":
    sys.exit(main())
