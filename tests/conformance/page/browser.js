// What a person does on the live page, one sentence each. The scenarios build on one another.
"use strict";
const path = require("node:path");
const { chromium } = require("playwright-core");

const [url, pictures] = process.argv.slice(2);
const PATIENCE = { timeout: 60_000 };
// Until an outage has been noticed, or its end: breakers, retries and their waits take their time.
const OUTAGE = { timeout: 120_000 };
const DESK = { width: 1280, height: 1000 };
const errors = [];
const foreign = [];

const scenarios = {
  "a change travels: it appears, and is acknowledged": async (page) => {
    await page.locator('tr[data-outcome="acknowledged"]').first().waitFor(PATIENCE);
    const before = await count(page, "rows", "acknowledged");
    await press(page, "Save", "Change a row");
    await until(page, async () => (await count(page, "rows", "acknowledged")) > before);
  },
  "its trace has plug-in, outbound and inbound in one operation, and opens and closes by keyboard": async (page) => {
    await page.locator('tr[data-outcome="acknowledged"] button').first().focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    for (const [role, name] of [["dataverse", " "], ["outbound-fn", "Outbound"], ["inbound-fn", "Inbound"]]) {
      await dialog.locator(`li[data-role="${role}"][data-kind="request"][data-name*="${name}"]`).first().waitFor(PATIENCE);
    }
    for (const peer of ["Dataverse", "target", "Service Bus"]) {
      await dialog.locator('li[data-kind="dependency"] > .span', { hasText: `→ ${peer}` }).first().waitFor(PATIENCE);
    }
    // What is shared with others is of their operation.
    const operations = await dialog.locator("li[data-operation]:not([data-linked])").evaluateAll((spans) => spans.map((span) => span.dataset.operation));
    if (new Set(operations).size !== 1) throw new Error(`operations ${[...new Set(operations)]}`);
    const command = await dialog.locator("#trace-command").textContent();
    const correlation = command.match(/^dvsync trace ([0-9a-f-]{36})( --url \S+)?$/)[1];
    if (correlation.replaceAll("-", "") !== operations[0]) throw new Error(`${command} is not of ${operations[0]}`);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden", ...PATIENCE });
  },
  "breakers are closed, and governors say what they allow": async (page) => {
    for (const [system, app] of [["Dataverse", "outbound-fn"], ["Dataverse", "inbound-fn"], ["target", "outbound-fn"]]) {
      await health(page, system, app, '[data-breaker="closed"]').waitFor(PATIENCE);
    }
    await health(page, "Dataverse", "outbound-fn").getByText(/\d+ of [1-9]\d*/).waitFor(PATIENCE);
  },
  "a dead letter shows its reason, stage and code": async (page) => {
    await press(page, "Save", "Save what the target refuses");
    const letter = page.locator('#dead tr[data-queue="outbound"]').first();
    for (const text of ["RejectedByTarget", "deliver", "status 422"]) await letter.getByText(text).first().waitFor(PATIENCE);
    await page.locator('tr[data-outcome="refused"]').first().waitFor(PATIENCE);
    await page.screenshot({ path: path.join(pictures, "page.png") });
  },
  "a broken target turns red with its word, and its breaker opens": async (page) => {
    await press(page, "Target", "down");
    for (let changes = 0; changes < 6; changes++) await press(page, "Save", "Change a row");
    const target = page.locator('li[data-part="target"][data-state="red"]');
    await target.getByText("failing: 503").waitFor(PATIENCE);
    await page.locator('tr[data-outcome="retrying"]').first().waitFor(PATIENCE);
    await health(page, "target", "outbound-fn", '[data-breaker="open"][data-state="red"]').waitFor(OUTAGE);
    await page.screenshot({ path: path.join(pictures, "page-broken.png") });
  },
  "and turns green again after it is mended": async (page) => {
    await press(page, "Target", "up");
    await page.locator('li[data-part="target"][data-state="green"]').waitFor(OUTAGE);
    await page.locator('tr[data-outcome="retrying"]').first().waitFor({ state: "detached", ...OUTAGE });
    await health(page, "target", "outbound-fn", '[data-state="green"]').waitFor(OUTAGE);
  },
  "the trace of a change that was retried says why in red": async (page) => {
    const retried = page.locator("#changes tr[data-outcome='acknowledged']").filter({ has: page.locator("td:last-child", { hasText: /^[1-9]/ }) });
    await retried.first().getByRole("button").click();
    const dialog = page.getByRole("dialog");
    await dialog.locator('li.failed[data-kind="exception"] > .span', { hasText: "deliver/" }).first().waitFor(PATIENCE);
    await dialog.locator('li[data-kind="request"] > .span', { hasText: "(retry 1)" }).first().waitFor(PATIENCE);
    await dialog.locator('li[data-role="inbound-fn"][data-kind="request"]').first().waitFor(PATIENCE);
    await page.mouse.move(0, 0);
    await page.setViewportSize({ ...DESK, height: 1300 });
    await page.screenshot({ path: path.join(pictures, "page-trace.png") });
    await page.setViewportSize(DESK);
    await page.keyboard.press("Escape");
  },
  "Dataverse that is down turns red with its breaker, and green again when it is up": async (page) => {
    await press(page, "Dataverse", "down");
    for (let changes = 0; changes < 6; changes++) await press(page, "Save", "Change a row");
    await page.locator('li[data-part="dataverse"][data-state="red"]').getByText("failing: 503").waitFor(PATIENCE);
    await health(page, "Dataverse", "outbound-fn", '[data-breaker="open"][data-state="red"]').waitFor(OUTAGE);
    await press(page, "Dataverse", "up");
    await recovered(page);
  },
  "throttling holds the governor back, and lets go when it is over": async (page) => {
    await press(page, "Dataverse", "throttles");
    await press(page, "Save", "Change a row");
    await page.locator('li[data-part="dataverse"][data-state="red"]').getByText("throttling: 429").waitFor(PATIENCE);
    await page.locator('#health tr[data-system="Dataverse"][data-state="amber"]').first().waitFor(PATIENCE);
    await page.locator('#health tr[data-system="Dataverse"]').getByText(/(window|concurrency) [1-9]/).first().waitFor(PATIENCE);
    await page.screenshot({ path: path.join(pictures, "page-throttled.png") });
    await press(page, "Dataverse", "up");
    await recovered(page);
  },
  "a dead letter that is resent once its cause is gone goes, and its change arrives": async (page) => {
    await press(page, "Dataverse", "forbids");
    await press(page, "Save", "Change a row");
    const letter = page.locator('#dead tr[data-queue="outbound"]').filter({ hasText: "DataversePrivilege" });
    await letter.first().waitFor(PATIENCE);
    const correlation = await letter.first().getAttribute("data-correlation");
    await page.locator(`#changes tr[data-correlation="${correlation}"][data-outcome="dead-lettered"]`).waitFor(PATIENCE);
    await press(page, "Dataverse", "up");
    await page.locator('li[data-part="dataverse"][data-state="green"]').waitFor(OUTAGE);
    await letter.first().getByRole("button", { name: "Resend" }).click();
    await page.locator(`#dead tr[data-queue="outbound"][data-correlation="${correlation}"]`).waitFor({ state: "detached", ...PATIENCE });
    await page.locator(`#changes tr[data-correlation="${correlation}"][data-outcome="acknowledged"]`).waitFor(PATIENCE);
  },
  "all are resent at once, and what is refused again comes back": async (page) => {
    const refused = page.locator("#dead tr", { hasText: "RejectedByTarget" });
    const before = await refused.first().getAttribute("data-letter");
    await page.getByRole("button", { name: "Resend all" }).click();
    await page.locator("#dead-note").getByText(/^\d+ resent$/).waitFor(PATIENCE);
    await page.locator(`#dead tr[data-letter="${before}"]`).waitFor({ state: "detached", ...PATIENCE });
    await refused.first().waitFor(PATIENCE);
  },
  "it is dark where the system is": async (page) => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.emulateMedia({ colorScheme: "dark" });
    if ((await background()) === light) throw new Error(`still ${light}`);
    await page.screenshot({ path: path.join(pictures, "page-dark.png") });
  },
  "nothing overflows at the width of a phone": async (page) => {
    await page.setViewportSize({ width: 390, height: 800 });
    const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (content > width) throw new Error(`${content} px of content in ${width} px`);
    await page.screenshot({ path: path.join(pictures, "page-phone.png") });
  },
  "nor does a trace": async (page) => {
    await page.locator("#changes button").first().click();
    await page.getByRole("dialog").locator("#trace-tree li").first().waitFor(PATIENCE);
    const [content, width] = await page.getByRole("dialog").evaluate((dialog) => [dialog.scrollWidth, dialog.clientWidth]);
    if (content > width) throw new Error(`${content} px of content in ${width} px`);
    await page.screenshot({ path: path.join(pictures, "page-phone-trace.png") });
    await page.keyboard.press("Escape");
  },
  "another site cannot act": async () => {
    for (const what of ["act/target-down", "resend?queue=outbound"]) {
      const answer = await fetch(new URL(what, url), { method: "POST", headers: { Origin: "http://evil.example" } });
      if (answer.status !== 403) throw new Error(`${what}: answered ${answer.status}`);
    }
  },
  "the console is empty and no request left the machine": async () => {
    if (errors.length) throw new Error(errors.join("\n"));
    if (foreign.length) throw new Error(foreign.join("\n"));
  },
};

const press = (page, group, name) => page.getByRole("group", { name: group, exact: true }).getByRole("button", { name, exact: true }).click();

const health = (page, system, app, state = "") => page.locator(`#health tr[data-system="${system}"][data-app="${app}"]${state}`);

async function recovered(page) {
  await page.locator('li[data-part="dataverse"][data-state="green"]').waitFor(OUTAGE);
  for (const app of ["outbound-fn", "inbound-fn"]) await health(page, "Dataverse", app, '[data-state="green"]').waitFor(OUTAGE);
}

async function count(page, part, name) {
  const list = page.locator(`li[data-part="${part}"] dl`);
  const text = await list.evaluate((dl, name) => [...dl.children].find((c) => c.textContent === name).nextSibling.textContent, name);
  return Number(text);
}

async function until(page, holds) {
  for (let tries = 0; tries < 150; tries++) {
    if (await holds()) return;
    await page.waitForTimeout(300);
  }
  throw new Error("it did not come");
}

async function main() {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage({ viewport: DESK });
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => !request.url().startsWith(url) && !request.url().startsWith("data:") && foreign.push(request.url()));
  await page.goto(url);
  let [passed, failed] = [0, 0];
  for (const [name, run] of Object.entries(scenarios)) {
    try {
      await run(page);
      passed++;
      console.log(`ok      ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED  ${name}\n${error.stack}`);
    }
  }
  await browser.close();
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

main();
