//! Definitions of what tables, rows and result files show. Warnings and the flags of rules explain
//! themselves where they are defined.

use super::explain::{Definition, DefinitionKind};

const fn metric(
    names: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
    computed: &'static str,
    matters: &'static str,
    advice: &'static str,
) -> Definition {
    let kind = DefinitionKind::Metric;
    Definition { names, kind, meaning, unit, computed, matters, advice }
}

const fn column(names: &'static [&'static str], meaning: &'static str) -> Definition {
    let kind = DefinitionKind::Column;
    Definition { names, kind, meaning, unit: "", computed: "", matters: "", advice: "" }
}

const fn term(
    names: &'static [&'static str],
    meaning: &'static str,
    computed: &'static str,
    matters: &'static str,
    advice: &'static str,
) -> Definition {
    let kind = DefinitionKind::Term;
    Definition { names, kind, meaning, unit: "", computed, matters, advice }
}

/// Words of comparisons; `docs/comparison.md` has the whole.
pub(super) const TERMS: &[Definition] = &[
    term(
        &["base", "new"],
        "the two sides of a comparison: what was measured before, and after",
        "the median of its values: of rounds, or of runs as soon as a side has several",
        "the figures are medians, and the test is on all values",
        "for the ratio see `benchinf explain 'new / base'`",
    ),
    term(
        &["new / base", "ratio"],
        "how many times the base the new side is",
        "the estimate of Hodges and Lehmann: the median of all ratios of a new value to one of the base",
        "of rates above 1 is faster, of latencies below 1",
        "read it with its interval, and believe the verdict",
    ),
    term(
        &["p", "p_value", "p_adjusted"],
        "the chance of as clear a difference where there is none",
        "Wilcoxon's rank sum test, two-sided, exact up to about twenty values on each side and by the \
         normal approximation beyond, adjusted by Holm's method for all cases that were tested together",
        "at 5 % or less a case is called faster or slower, unless it is shown to be the same",
        "where it is `–`, there are too few values to test: measure more rounds (-r)",
    ),
    term(
        &["p same", "p_same", "p_same_adjusted"],
        "the chance of values as close as these if the change were as large as the margin",
        "two one-sided rank sum tests, against 1 + margin and 1 / (1 + margin), adjusted by Holm's method",
        "at 5 % or less a case is called the same: that nothing is found would not show it",
        "measure more rounds (-r), or take a wider --margin",
    ),
    term(
        &["detectable", "smallest_detectable"],
        "the smallest change that these very values would have shown",
        "the distance from the estimate to the farther end of its interval at the strictest level of the \
         family",
        "a smaller change may well be there and not be found",
        "measure more rounds (-r), on a quieter machine or in turns (`benchinf ab`)",
    ),
    term(
        &["margin"],
        "the change that is too small to matter",
        "--margin, 3 % by default",
        "`same` says that the change is smaller",
        "set it to what you would act on",
    ),
    term(
        &["geometric mean", "overall"],
        "the ratio over all cases that can be compared whole",
        "the mean over cases of logarithms, made of each round (or run) that all of them have, and then \
         the estimate and interval of a single case",
        "it sums a sweep up, and hides cases that went the other way",
        "it is no verdict: what costs the verdicts stands beside it",
    ),
    term(
        &["verdict"],
        "what is said of a case: faster, slower, same or unsure",
        "same if `p same` is 5 % at most; otherwise faster or slower if `p` is; otherwise unsure",
        "the chance that any faster or slower of a family is wrong is 5 % at most, and so is that of same",
        "--fail-on says which of them make the exit status other than 0",
    ),
    term(
        &["faster", "slower"],
        "a verdict: the new side is shown to differ by more than chance",
        "`p` is 5 % at most, and the change is not shown to be below the margin",
        "it holds with the difference of clocks taken off, where there is one",
        "see the interval for by how much",
    ),
    term(
        &["same"],
        "a verdict: the change is shown to be smaller than the margin, be there one or not",
        "`p same` is 5 % at most",
        "it is more than that nothing was found",
        "a narrower --margin asks for more",
    ),
    term(
        &["unsure"],
        "a verdict: nothing is shown, or something else could explain it",
        "neither test reaches 5 %, there are too few values, or the sides differ in what costs the verdict",
        "it does not mean that both sides are the same",
        "the reasons stand below the table, each with what to do",
    ),
    term(
        &["round"],
        "what counts as one value where each side is one run",
        "the work of a round by its time, or the mean of a latency in it",
        "iterations inside a round are alike, and never taken for independent",
        "what differs from run to run is in no interval then: `benchinf ab` measures it",
    ),
    term(
        &["run"],
        "what counts as one value as soon as a side has several runs",
        "the median of its rounds",
        "rounds of one run are more alike than runs are",
        "give each side as many runs as there are rounds otherwise",
    ),
    term(
        &["noted", "allowed", "taken off before a verdict is given", "costs the verdict"],
        "what a difference between the sides does to verdicts",
        "noted: nothing; allowed: it would cost the verdict, but --allow says that it does not matter; taken \
         off: a verdict stands only where it would with all that the difference explains taken off; costs \
         the verdict: every case is unsure",
        "what could explain a change is taken for its cause unless somebody says otherwise",
        "measure both sides alike, or --allow what you compare",
    ),
];

/// Figures: each with its unit, how it is computed, why it matters and what to do about it.
pub(super) const METRICS: &[Definition] = &[
    metric(
        &["avg_ts", "t/s", "mean_tokens_per_s", "samples_ts", "rounds_tokens_per_s"],
        "tokens per second",
        "throughput: the mean over rounds; of a request, prompt and generated tokens together",
        "tokens of a round's passes by their wall-clock time is one sample for each round (samples_ts); \
         the mean of those",
        "it is the figure that llama-bench prints, and so the one to set beside it",
        "read it with stddev_ts; to compare two runs take median_ts and its interval",
    ),
    metric(
        &["stddev_ts", "stddev_tokens_per_s"],
        "tokens per second",
        "how much the throughput of rounds differs: their standard deviation",
        "the root of the squared distances from the mean, over n - 1; absent for one round",
        "two runs whose figures differ by less are not shown to differ",
        "above a tenth of the mean see `benchinf explain noisy`; measure more rounds (-r) or longer ones \
         (--min-time)",
    ),
    metric(
        &["median_ts", "median", "median_tokens_per_s"],
        "tokens per second",
        "typical throughput: the median over rounds",
        "the middle of the rounds' throughputs, or the mean of the two in the middle",
        "one disturbed round does not move it, as it moves a mean",
        "compare medians by their intervals, within one run or on one machine",
    ),
    metric(
        &["median_ts_lower", "median_ts_upper", "interval"],
        "tokens per second",
        "the interval that holds the median of all rounds that could have been measured",
        "from the order of rounds alone, whatever their distribution: the k-th slowest and the k-th \
         fastest round that hold it with 90 % at least, or the extremes",
        "it says how sure the median is; intervals that overlap show no difference",
        "more rounds (-r) make it narrower",
    ),
    metric(
        &["median_ts_coverage", "coverage"],
        "share, 0 to 1",
        "the chance with which the interval holds the median",
        "1 - 2 P(Bin(n, 1/2) < k): 0.9375 for five rounds, 0.75 for three",
        "few rounds cannot promise much, and an interval without its coverage hides that",
        "give it -r 5 or more",
    ),
    metric(
        &["avg_ns", "samples_ns"],
        "nanoseconds",
        "time of one pass: the mean over rounds",
        "a round's time by its passes is one sample for each round (samples_ns); the mean of those",
        "it is throughput turned over, as llama-bench has it",
        "for how long single tokens or requests take, see ttft, tpot, itl and e2el",
    ),
    metric(
        &["stddev_ns"],
        "nanoseconds",
        "how much the times of a pass differ between rounds: their standard deviation",
        "the root of the squared distances from the mean, over n - 1; absent for one round",
        "differences to another run that are no larger may be none",
        "measure more rounds (-r) or longer ones (--min-time)",
    ),
    metric(
        &["prefill_pass"],
        "nanoseconds",
        "the forward pass over the prompt of every sequence, up to the logits of the last position",
        "wall clock around each pass; a histogram of all of them",
        "it is bound by arithmetic, and most of the wait for the first token of a long prompt",
        "hold it against the ceiling of products: `benchinf explain ceiling_share`",
    ),
    metric(
        &["decode_step"],
        "nanoseconds",
        "one step of decoding: the forward pass of one token for each sequence, and the greedy pick \
         that the next step consumes",
        "wall clock around each step; a histogram of all of them",
        "it is bound by memory at small batches, and sets how fast text appears",
        "hold it against the ceiling of memory; a larger batch (-b) shares the weights' way",
    ),
    metric(
        &["prefill_pass_device", "decode_step_device", "itl_device"],
        "nanoseconds",
        "what a pass over a prompt, a step, or a step after a request's first token took by the \
         device's own clock",
        "CUDA events around the launches of each iteration; a histogram of all of them",
        "what it lacks of the same latency by the host's clock is the way to the device and back",
        "if only the host's are long, look at load and at --cuda-graphs; if both are, at the device's \
         clocks",
    ),
    metric(
        &["ttft", "mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms"],
        "nanoseconds; milliseconds in rows",
        "time to first token: from the start of a request to its first output token",
        "prefill and first pick of every request of a `-pg` case; nothing queues here, so a server adds \
         its own",
        "it is how long somebody waits before anything happens",
        "it grows with the prompt (-p) and with the batch (-b)",
    ),
    metric(
        &["tpot", "mean_tpot_ms", "median_tpot_ms", "p99_tpot_ms"],
        "nanoseconds; milliseconds in rows",
        "time per output token after the first",
        "(e2el - ttft) / (generated tokens - 1), one value for each request; absent for one token",
        "it is the pace at which an answer appears",
        "for single stalls, which it averages away, see itl",
    ),
    metric(
        &["itl", "mean_itl_ms", "median_itl_ms", "p99_itl_ms"],
        "nanoseconds; milliseconds in rows",
        "inter-token latency: the gap between two output tokens that follow each other",
        "wall clock of each step after the first token, one value for each gap",
        "its tail shows stalls that a mean hides",
        "look at its 99th percentile, and at warnings of load and clocks",
    ),
    metric(
        &["e2el", "mean_e2el_ms", "median_e2el_ms", "p99_e2el_ms"],
        "nanoseconds; milliseconds in rows",
        "end-to-end latency: from the start of a request to its last output token",
        "the sum of a request's steps, one value for each request",
        "it is how long a whole answer takes",
        "take it apart into ttft and tpot",
    ),
    metric(
        &["p50", "p90", "p95", "p99", "p99.9"],
        "nanoseconds",
        "percentile: that share of the values is no larger",
        "from an HDR histogram of three digits, and only where n values bound it with 95 %: p50 needs 5, \
         p90 29, p95 59, p99 299, p99.9 2,995",
        "a tail is what users notice; a percentile of too few values is only the largest of them",
        "where it says `> max`, measure longer (--min-time, -r)",
    ),
    metric(
        &["flops"],
        "operations",
        "dense operations of one pass that any correct implementation of the shape must do",
        "two for each multiply-accumulate; causal attention counts the triangle, the output head the last \
         position only",
        "it turns times into rates that can be held against the machine",
        "nothing: it follows from the shape, and a reader computes it again",
    ),
    metric(
        &["bytes_min"],
        "bytes",
        "what a pass must at least move if each forward pass starts from cold caches",
        "every weight once for each forward pass, cached keys and values once, new ones written once, \
         activations nothing",
        "it bounds decoding by the bandwidth of memory",
        "a model that fits the caches may move less, and then no memory ceiling applies",
    ),
    metric(
        &["flops_per_s"],
        "operations per second",
        "arithmetic that the case did, by its median round",
        "flops by the time of a pass",
        "against the measured rate of products it says how near the machine's limit the case is",
        "see ceiling_share",
    ),
    metric(
        &["bytes_per_s"],
        "bytes per second",
        "memory traffic that the case needed at least, by its median round",
        "bytes_min by the time of a pass",
        "against the measured read bandwidth it says how near the machine's limit the case is",
        "see ceiling_share",
    ),
    metric(
        &["ceiling_share"],
        "share, 0 to 1",
        "how much of what the machine was measured to do at most the case reached",
        "flops_per_s or bytes_per_s by the ceiling of the same dtype and threads, the larger of both",
        "1 means that only a better machine helps; far below, better code does",
        "above 1 it is absent: see `benchinf explain ceiling_under_measured`",
    ),
    metric(
        &["best_per_s", "best"],
        "operations or bytes per second, as unit says",
        "a ceiling: the fastest pass of a probe in any round",
        "work of the pass by its time",
        "cases are held against it",
        "measure it on a quiet machine; `benchinf probe` measures ceilings alone",
    ),
    metric(
        &["median_per_s"],
        "operations or bytes per second, as unit says",
        "what a probe usually did: the median over rounds",
        "work of a round's passes by their time, and the median of that",
        "far below best_per_s the machine was disturbed",
        "look at the warnings of the ceiling",
    ),
    metric(
        &["at_least_per_s", "proved at least"],
        "operations or bytes per second, as unit says",
        "what a probe proves: the device did this at least, once",
        "exact work of the fastest pass, less what caches may have kept, by its bracket lengthened by the \
         clock's resolution; the output was checked",
        "it holds whatever the statistics say",
        "see `benchinf explain tpp_at_least` for what rules make of it",
    ),
    metric(
        &["bytes_per_s_at_least"],
        "bytes per second",
        "memory bandwidth that the case proves",
        "as at_least_per_s, from working sets of four times the last-level cache at least",
        "it is the lower end of dram_bandwidth in `benchinf classify`",
        "absent for small models: the probes memory_read, memory_copy and memory_triad prove it instead",
    ),
    metric(
        &["tpp_at_least"],
        "TPP",
        "total processing performance that the case or probe proves",
        "operations per second proved / 10^12 x bits of the multiply's wider input",
        "export rules have thresholds of it; a measurement proves \"at least\", and never \"below\"",
        "hold it against rules with `benchinf classify`",
    ),
    metric(
        &["tpp"],
        "TPP",
        "total processing performance: 2 x MacTOPS x bits of the multiply's wider input, dense, of one \
         integrated circuit",
        "from below by a run (tpp_at_least), from above by the maker's figure or dense rates x bits",
        "it is the measure of ECCN 3A090",
        "`benchinf classify` says which thresholds it reaches",
    ),
    metric(
        &["performance_density"],
        "TPP/mm²",
        "TPP by the area of logic dies on nodes with non-planar transistors",
        "tpp by the die area of a specification or --die-area",
        "rules ask for it beside TPP, so that many small dies do not slip through",
        "declare the area with --die-area where no specification has it",
    ),
    metric(
        &["dram_bandwidth"],
        "GB/s",
        "bandwidth of all memory attached to or packaged with the circuit",
        "from below by a run (bytes_per_s_at_least), from above by a specification",
        "letters of 2025 and the review lane of 2026 have thresholds of it",
        "run `benchinf probe` to prove more of it",
    ),
    metric(
        &["io_bandwidth"],
        "GB/s",
        "bandwidth of links between devices, both directions added up, as makers quote it",
        "from a specification or --declare; no run shows it",
        "letters of 2025 have a threshold of it",
        "declare it with --declare io_bandwidth=N",
    ),
    metric(
        &["io_bandwidth_all"],
        "GB/s",
        "bandwidth of all inputs and outputs to circuits other than memory",
        "io_bandwidth from below; from above that and one host interface",
        "the rule of 2022 asked for 600 GB/s of it",
        "declare it with --declare io_bandwidth_all=N",
    ),
    metric(
        &["memory_bandwidth_density"],
        "GB/s/mm²",
        "bandwidth of a package or stack of high-bandwidth memory by its area",
        "from --declare; no run shows it",
        "3A090.c controls memory above 2",
        "declare it with --declare memory_bandwidth_density=N",
    ),
    metric(
        &["app_wt"],
        "weighted TeraFLOPS (WT)",
        "adjusted peak performance of one computer in 64-bit arithmetic",
        "64-bit rate x 0.9 for a vector processor, x 0.3 for another, over processors that share memory \
         by hardware coherence",
        "4A003 has controlled computers by it since 2006",
        "say how many devices share memory with --coherent-devices",
    ),
    metric(
        &["transistors"],
        "transistors",
        "transistors of the finished package",
        "from a specification or --declare",
        "the rule on foundries presumes a control above limits of it",
        "declare it with --declare transistors=N",
    ),
    metric(
        &["link_bandwidth"],
        "GB/s",
        "bandwidth of one link outwards, one direction",
        "from --declare; no run shows it",
        "4A003.g asks for more than 2.0",
        "declare it with --declare link_bandwidth=N",
    ),
    metric(
        &["training_operations"],
        "operations",
        "operations that a model was trained with",
        "from --declare; no run shows it",
        "4E091 asks for 10^26",
        "declare it with --declare training_operations=N",
    ),
    metric(
        &["consignee_tpp"],
        "TPP",
        "TPP shipped to one consignee in one calendar year, all items added up",
        "from --declare; no run shows it",
        "the exception LPP of 2025 has a limit of it",
        "declare it with --declare consignee_tpp=N",
    ),
];

/// What was run, on what, and what became of it.
pub(super) const COLUMNS: &[Definition] = &[
    column(&["build_commit"], "commit of the sources that measured"),
    column(&["build_version"], "version of benchinf that measured"),
    column(&["cpu_info"], "processor, as the machine names it"),
    column(&["gpu_info"], "empty: result files do not name other devices so far"),
    column(&["backends"], "what computed: candle on the processor, or on a CUDA device"),
    column(&["model_filename"], "where the model's shape and weights came from"),
    column(&["model_type"], "family, parameters and format of the model, as llama-bench words it"),
    column(&["model_size"], "bytes of the weights in the case's format"),
    column(&["model_n_params", "params"], "parameters of the model"),
    column(
        &["n_batch", "n_ubatch"],
        "tokens of the largest forward pass over all sequences: nothing is split further",
    ),
    column(&["n_threads", "threads"], "threads that computed (-t)"),
    column(
        &[
            "cpu_mask",
            "cpu_strict",
            "poll",
            "split_mode",
            "main_gpu",
            "no_kv_offload",
            "flash_attn",
            "tensor_split",
            "tensor_buft_overrides",
            "embeddings",
        ],
        "a setting of llama-bench that benchinf does not have; the value describes what was done",
    ),
    column(&["type_k", "type_v"], "format of cached keys and values: that of the case"),
    column(&["n_gpu_layers"], "0 on the processor, -1 for all layers on another device"),
    column(&["devices", "device"], "device that computed (--device)"),
    column(&["use_mmap"], "whether weights were mapped from a checkpoint rather than drawn"),
    column(&["n_prompt"], "tokens of the prompt of each sequence (-p)"),
    column(&["n_gen"], "tokens generated for each sequence (-n)"),
    column(&["n_depth"], "positions in the KV cache before a pass (-d)"),
    column(&["test_time"], "when the first round began, UTC"),
    column(&["model"], "name of the model (-m)"),
    column(&["dtype"], "format of weights and activations (--dtype)"),
    column(&["kernels"], "whose operations ran: our own (fused) or candle's (stock) (--kernels)"),
    column(
        &["cuda_graphs", "graphs"],
        "whether decode steps were replayed as CUDA graphs (on) or launched kernel by kernel (off); \
         absent where there is no choice (--cuda-graphs)",
    ),
    column(&["kernel"], "instruction set that our own kernels used"),
    column(&["batch_size", "batch"], "sequences that a pass computes together (-b)"),
    column(
        &["test"],
        "what a pass does: ppN prefill, tgN decode, ppN+tgN a request, @ dN at a depth",
    ),
    column(&["outcome"], "measured, skipped or failed"),
    column(&["reason"], "why it was skipped or failed"),
    column(
        &["debug_build"],
        "whether the program was built without optimisation; its figures then say nothing of the hardware",
    ),
    column(
        &["bound"],
        "compute or memory: the measured ceiling that the case is nearest to; empty where that is not known",
    ),
    column(
        &["launch_share"],
        "share of the time of all rounds, by the host's clock, in which the host gave work out to the \
         device: overhead that a faster device would not shorten; absent on a processor",
    ),
    column(
        &["device_share"],
        "share of that time which the work took by the device's own clock (CUDA events), gaps between \
         launches included; the rest is the way to the device and back; absent on a processor",
    ),
    column(&["ceiling"], "id of the ceiling whose share ceiling_share is"),
    column(
        &["provisos"],
        "what claims take on trust: virtual_machine (a hypervisor may tell fewer caches of a \
         processor than there are) or hypervisor_unknown; nothing of an NVIDIA device",
    ),
    column(&["warnings"], "kinds of warnings, each of which `benchinf explain` knows"),
    column(&["case_id", "case"], "the case's name in its file"),
    column(&["run_id"], "the run's name; no two runs share one"),
    column(
        &["integrity"],
        "intact, altered or no_digests: whether the file is as it was written; only an intact file proves \
         anything",
    ),
    column(&["probe"], "what was probed: gemm, a walk through memory, or a transfer"),
    column(
        &["transfer_host_to_device", "transfer_device_to_host", "transfer_bidirectional"],
        "a probe: copies between pinned memory of the host and a device; no memory bandwidth, and it proves \
         nothing",
    ),
    column(
        &["transfer_device_to_device"],
        "a probe: copies from the device to the next one; cuda_peer_direct where they reach each other's \
         memory, else cuda_peer_through_host; no memory bandwidth, and it proves nothing",
    ),
    column(&["tf32"], "a product of f32 factors of which a device takes 19 bits"),
    column(&["fp8_e4m3"], "a product of factors of 8 bits: 4 of exponent, 3 of mantissa"),
    column(&["gemm"], "a probe: a product of two square matrices, 2 x M x N x K operations"),
    column(&["memory_read"], "a probe: reads a working set that no cache holds"),
    column(&["memory_copy"], "a probe: writes one half of a working set from the other"),
    column(&["memory_triad"], "a probe: a = b + s x c over thirds of a working set"),
    column(&["gemm_size"], "rows and columns of the factors of a product"),
    column(&["working_set_bytes"], "what a memory probe walks through"),
    column(&["n_rounds", "rounds"], "rounds that were measured (-r)"),
    column(&["unit"], "what a ceiling counts: flops_per_s or bytes_per_s"),
    column(&["ceiling_id"], "the ceiling's name in its file"),
];
