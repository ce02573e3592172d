// Result files that mean harm: valid enough to be read, with texts and numbers that a page must not
// choke on. All of them count as altered.

/** What would show that a text of a file ran: a script that names itself. */
export const SCRIPT = `<script>window.harmed = "script"</script>`;

const TEXTS = [
  SCRIPT,
  `"><img src=x onerror="window.harmed='img'">`,
  `</style></script><svg onload="window.harmed='svg'">`,
  `<a href="javascript:window.harmed='link'">x</a>`,
  `{{constructor.constructor("window.harmed='template'")()}}`,
  `]]><!-- --!><iframe src="http://example.invalid/"></iframe>`,
  `\u202egnp.exe \u0000\u0007 \u2066`,
  "W".repeat(5000),
  "🂡".repeat(500),
];

/** A copy to spoil. What digests a model is left out: numbers of JSON are not what they were here. */
function copy(result) {
  const file = structuredClone(result);
  for (const model of file.plan.models) model.config_sha256 = null;
  return file;
}

/** Replaces every text that the reader does not hold against something else. */
export function scripted(result) {
  const file = copy(result);
  let n = 0;
  const text = () => TEXTS[n++ % TEXTS.length];
  file.run.id = text();
  file.run.command_line = TEXTS;
  file.tool.version = text();
  file.tool.commit = text();
  file.tool.compiler = text();
  const { cpu } = file.environment;
  cpu.model = TEXTS[2];
  cpu.governor = text();
  cpu.features = TEXTS;
  file.environment.os = text();
  file.environment.kernel = text();
  for (const ceiling of file.ceilings) ceiling.kernel = text();
  // The label is part of ids, which follow from axes.
  const before = file.plan.models[0].label;
  const label = `${SCRIPT}${TEXTS[1]}`;
  file.plan.models[0].label = label;
  for (const item of file.cases) {
    item.id = item.id.replace(before, label);
    item.axes.model = label;
    item.warnings = TEXTS.map((text) => ({ kind: text, message: text, advice: text, figures: {} }));
    if (item.roofline) item.roofline.sentence = text();
    for (const latency of item.latencies) latency.description = text();
  }
  for (const record of file.integrity.records) record.record = TEXTS[1] + record.record;
  return file;
}

/** The largest and the smallest numbers where the reader has nothing to hold them against. */
export function absurd(result) {
  const file = copy(result);
  const most = "18446744073709551615";
  file.run.duration_ns = most;
  file.run.started = "9999-99-99T99:99:99Z";
  file.environment.load_average_1min = 1e308;
  file.environment.memory_bytes = most;
  file.environment.cpu.max_frequency_hz = most;
  file.environment.cpu.physical_cores = 4294967295;
  for (const [i, item] of file.cases.entries()) {
    for (const round of item.rounds) {
      round.start_ns = i === 0 ? most : 0;
      if (round.conditions) {
        round.conditions.other_load_share = 1;
        round.conditions.throttle_events = most;
      }
    }
  }
  // JSON.stringify would round them.
  return JSON.stringify(file).replaceAll(`"${most}"`, most);
}
