// One endpoint with @fal-ai/client: subscribe, run, and a submission with a webhook. ENDPOINT PICTURE WEBHOOK
import { readFile } from "node:fs/promises";
import { fal } from "@fal-ai/client";

const [endpoint, picture, webhookUrl] = process.argv.slice(2);
const blob = new Blob([await readFile(picture)], { type: "image/png" });
const input = { image_url: blob, prompt: "a walk", seed: 7 };
const subscribed = await fal.subscribe(endpoint, { input, pollInterval: 100 });
const ran = await fal.run(endpoint, { input });
const told = await fal.queue.submit(endpoint, { input, webhookUrl });
const seeds = [subscribed.data.seed, ran.data.seed];
console.log(JSON.stringify({ seeds, url: subscribed.data.video.url, told: told.request_id }));
