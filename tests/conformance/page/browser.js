// What a person does on the live page, one sentence each. The scenarios build on one another.
"use strict";
const path = require("node:path");
const { chromium } = require("playwright-core");

const [url, pictures] = process.argv.slice(2);
const PATIENCE = { timeout: 45_000 };
const errors = [];
const foreign = [];

const scenarios = {
  "a change travels: it appears, and is acknowledged": async (page) => {
    await page.locator('tr[data-outcome="acknowledged"]').first().waitFor(PATIENCE);
    const before = await count(page, "rows", "acknowledged");
    await page.getByRole("button", { name: "Change a row" }).click();
    await until(page, async () => (await count(page, "rows", "acknowledged")) > before);
  },
  "its trace opens and closes by keyboard": async (page) => {
    await page.locator("#changes button").first().focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/acknowledged .* after the save/).waitFor(PATIENCE);
    await dialog.getByText(/[0-9a-f-]{36}$/).first().waitFor(PATIENCE);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden", ...PATIENCE });
  },
  "a dead letter shows its reason": async (page) => {
    await page.getByRole("button", { name: "Save what the target refuses" }).click();
    await page.locator("#dead li:not(.none) strong").first().waitFor(PATIENCE);
    await page.locator("#dead").getByText("RejectedByTarget").first().waitFor(PATIENCE);
    await page.screenshot({ path: path.join(pictures, "page.png") });
  },
  "a broken target turns red with its word": async (page) => {
    await page.getByRole("button", { name: "Break the target" }).click();
    await page.getByRole("button", { name: "Change a row" }).click();
    const target = page.locator('li[data-part="target"][data-state="red"]');
    await target.getByText("failing: 503").waitFor(PATIENCE);
    await page.locator('tr[data-outcome="retrying"]').first().waitFor(PATIENCE);
    await page.screenshot({ path: path.join(pictures, "page-broken.png") });
  },
  "and turns green again after it is mended": async (page) => {
    await page.getByRole("button", { name: "Mend the target" }).click();
    await page.locator('li[data-part="target"][data-state="green"]').waitFor({ timeout: 90_000 });
    await page.locator('tr[data-outcome="retrying"]').first().waitFor({ state: "detached", ...PATIENCE });
  },
  "nothing overflows at the width of a phone": async (page) => {
    await page.setViewportSize({ width: 390, height: 800 });
    const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (content > width) throw new Error(`${content} px of content in ${width} px`);
    await page.screenshot({ path: path.join(pictures, "page-phone.png") });
  },
  "another site cannot act": async () => {
    const answer = await fetch(new URL("act/break", url), { method: "POST", headers: { Origin: "http://evil.example" } });
    if (answer.status !== 403) throw new Error(`answered ${answer.status}`);
  },
  "the console is empty and no request left the machine": async () => {
    if (errors.length) throw new Error(errors.join("\n"));
    if (foreign.length) throw new Error(foreign.join("\n"));
  },
};

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
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
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
