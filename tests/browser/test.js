// Opens pages in a browser and looks at them as people do; see run.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

import { SCRIPT, absurd, scripted } from "./hostile.js";

const [root, benchinf, files, screenshots] = process.argv.slice(2);

const LOOKS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
  { name: "phone-dark", colorScheme: "dark", viewport: { width: 390, height: 844 } },
];

const committed = join(root, "results/2026-11-24-amd-epyc-2-cores/smollm2-135m.json");
const other = join(root, "results/2026-11-24-intel-xeon-2-cores/smollm2-135m.json");
const result = JSON.parse(readFileSync(committed, "utf8"));
const made = (name, text) => {
  const path = join(files, name);
  writeFileSync(path, text);
  return path;
};
const sweep = join(files, "sweep.json");
const imported = join(files, "imported.json");
run("import", join(root, "tests/data/import/llama-bench.json"), "-m", "smollm2-135m", "--out", imported);

const scriptedFile = made("scripted.json", JSON.stringify(scripted(result)));

/** Pages: the results each is made from, and what must be seen on it. */
const PAGES = [
  { name: "run", args: [committed], sections: ["results", "latency", "roofline", "rounds", "tiers", "ceilings", "environment"], status: "intact" },
  { name: "first-format", args: [join(root, "tests/data/results/valid/v1.0.json")], sections: ["results"], status: "doubtful" },
  { name: "several", args: [committed, other], sections: ["results", "roofline"], status: "intact" },
  { name: "sweep", args: [sweep], sections: ["results", "throughput", "latency"], status: "intact" },
  { name: "imported", args: [committed, imported], sections: ["results", "roofline", "environment"], status: "intact" },
  { name: "sides", args: [sweep, "--with", join(files, "sweep-new.json")], sections: ["sides", "results", "throughput"], status: "intact" },
  { name: "sides-imported", args: [committed, "--with", imported], sections: ["sides", "results"], status: "intact" },
  { name: "sides-scripted", args: [scriptedFile, "--with", scriptedFile], sections: ["sides", "results"], status: "altered", isHostile: true },
  { name: "large", args: [join(files, "large.json")], sections: ["results"], status: "intact" },
  { name: "altered", args: [made("altered.json", readFileSync(committed, "utf8").replace('"seed": ', '"seed": 1'))], sections: ["results"], status: "altered" },
  { name: "scripted", args: [scriptedFile], sections: ["results"], status: "altered", isHostile: true },
  { name: "absurd", args: [made("absurd.json", absurd(result))], sections: ["results"], status: "altered", isHostile: true },
];

function run(...args) {
  const { status, stderr } = spawnSync(benchinf, args, { encoding: "utf8" });
  assert.equal(status, 0, `${args.join(" ")}: ${stderr}`);
}

function build({ name, args }) {
  const path = join(files, `${name}.html`);
  run("report", ...args, "--html", path);
  assert.ok(statSync(path).size < 5e6, `${name}: ${statSync(path).size} bytes`);
  return path;
}

/** Contrast of every text with what it stands on, as WCAG 2 counts it. */
function lowContrast() {
  const parse = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => {
    const of = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * of(r) + 0.7152 * of(g) + 0.0722 * of(b);
  };
  const background = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = 0; walker.nextNode() && n < 20000; n++) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || node.closest("script, style, title, details:not([open])")) continue;
    const style = getComputedStyle(node);
    const color = parse(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(color), luminance(background(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${node.tagName}.${node.getAttribute("class")} ${ratio.toFixed(2)}`);
  }
  return [...found];
}

/** What must hold on any page, in any look. */
async function check(page, expected) {
  for (const id of expected.sections) {
    assert.ok(await page.locator(`section#${id}`).isVisible(), `no section ${id}`);
  }
  assert.equal(await page.locator("h1").count(), 1);
  assert.ok(await page.locator(`header .status.${expected.status}`).first().isVisible(), "no status");
  if (expected.status === "altered") {
    assert.ok(await page.locator("header .alert.altered[role=alert]").first().isVisible(), "no alert");
    assert.equal(await page.locator("#tiers").count(), 0, "an altered file proves nothing");
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} px wider than the screen`);
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("svg:not([aria-hidden]), section, nav, [role=region]")]
      .filter((node) => !node.getAttribute("aria-label") && !node.getAttribute("aria-labelledby")).length);
  assert.equal(unnamed, 0, "every picture and region has a name");
  const broken = await page.evaluate(() =>
    [...document.querySelectorAll("svg *")].some((node) =>
      [...node.attributes].some(({ value }) => /NaN|inf|undefined/.test(value))));
  assert.equal(broken, false, "a picture has a coordinate that is not a number");
  assert.deepEqual(await page.evaluate(lowContrast), [], "texts that are hard to read");
  assert.equal(await page.evaluate(() => window.harmed), undefined, "text of a file ran");
  assert.equal(await page.locator("iframe, img, object, embed, form, a[href^='javascript']").count(), 0);
  if (expected.isHostile && expected.name === "scripted") {
    assert.ok((await page.locator("body").innerText()).includes(SCRIPT), "the text is shown as text");
  }
}

/** Sorting by keyboard alone: down the column, and up again. */
async function checkSorting(page) {
  const table = page.locator("#results .scroll[aria-label='Throughput of every case'] table");
  const header = table.locator("th", { hasText: "median" });
  const column = async () => {
    const cells = await table.locator("tbody td[data-v]").evaluateAll((cells) =>
      cells.filter((cell) => cell === cell.parentElement.querySelector("td[data-v]")).map((cell) => Number(cell.dataset.v)));
    return cells;
  };
  const sorted = (values, sign) => [...values].sort((a, b) => sign * (a - b));
  await header.locator("button").focus();
  await page.keyboard.press("Enter");
  assert.equal(await header.getAttribute("aria-sort"), "ascending");
  const up = await column();
  assert.ok(up.length > 2);
  assert.deepEqual(up, sorted(up, 1));
  await page.keyboard.press("Space");
  assert.equal(await header.getAttribute("aria-sort"), "descending");
  assert.deepEqual(await column(), sorted(up, -1));
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu"],
});
let n = 0;
for (const expected of PAGES) {
  const path = build(expected);
  for (const { name, ...options } of LOOKS) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const problems = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("dialog", (dialog) => problems.push(`dialog ${dialog.message()}`) && dialog.dismiss());
    const url = pathToFileURL(path).href;
    page.on("request", (request) => {
      if (request.url() !== url && !request.url().startsWith("data:")) problems.push(`request ${request.url()}`);
    });
    await page.goto(url);
    try {
      await check(page, expected);
      if (name === "light") await checkSorting(page);
      await page.waitForTimeout(20);
      assert.deepEqual(problems, []);
    } catch (error) {
      error.message = `${expected.name}, ${name}: ${error.message}`;
      throw error;
    } finally {
      if (screenshots) {
        await page.screenshot({ path: join(screenshots, `${expected.name}-${name}.png`), fullPage: expected.name !== "large" });
      }
    }
    await context.close();
    n += 1;
  }
}
await browser.close();
console.log(`${n} views of ${PAGES.length} pages are as they should be`);
