// Every call of fal's JavaScript client on whatever server it is pointed at. Writes a report as JSON.
import { readFile } from "node:fs/promises";
import { ApiError, ValidationError, fal } from "@fal-ai/client";

const ENDPOINT = "fal-ai/wan/v2.2-a14b/image-to-video";
const picture = new Blob([await readFile(process.argv[2])], { type: "image/png" });
const input = { image_url: "https://example.com/a.jpg", prompt: "a walk", resolution: "480p", seed: 7 };
const report = {};

const { request_id: requestId } = await fal.queue.submit(ENDPOINT, { input });
const seen = new Set();
let status;
do {
  status = await fal.queue.status(ENDPOINT, { requestId, logs: true });
  seen.add(status.status);
} while (status.status !== "COMPLETED");
report.seen = [...seen];
report.logs = status.logs.map((line) => line.message);
report.metrics = status.metrics;
const result = await fal.queue.result(ENDPOINT, { requestId });
report.result = result.data;
report.requestId = result.requestId === requestId;

const streamed = [];
const stream = await fal.queue.streamStatus(ENDPOINT, { requestId, logs: true });
for await (const event of stream) streamed.push(...event.logs.map((line) => line.message));
report.streamed = streamed;

const lines = [];
const onQueueUpdate = (update) => { if (update.logs) lines.splice(0, lines.length, ...update.logs.map((l) => l.message)); };
const subscribed = await fal.subscribe(ENDPOINT, { input, logs: true, mode: "streaming", onQueueUpdate });
report.subscribed = { seed: subscribed.data.seed, lines };

const run = await fal.run(ENDPOINT, { input });
report.run = { seed: run.data.seed, requestId: run.requestId.length };

const endless = await fal.queue.submit(ENDPOINT, { input: { ...input, prompt: "endless" } });
await fal.queue.cancel(ENDPOINT, { requestId: endless.request_id });
do {
  status = await fal.queue.status(ENDPOINT, { requestId: endless.request_id });
} while (status.status !== "COMPLETED");
report.cancelled = { error: status.error_type };
await fal.queue.result(ENDPOINT, { requestId: endless.request_id }).catch((error) => {
  report.cancelled.status = error instanceof ApiError && error.status;
});
await fal.run(ENDPOINT, { input: { ...input, num_frames: 5 } }).catch((error) => {
  const fields = error instanceof ValidationError && error.getFieldErrors("num_frames");
  report.faulty = { status: error.status, message: error.message, fields };
});

const url = await fal.storage.upload(picture);
report.upload = (await (await fetch(url)).arrayBuffer()).byteLength === picture.size;
report.fromUpload = (await fal.subscribe(ENDPOINT, { input: { ...input, image_url: url } })).data;
report.fromBlob = (await fal.subscribe(ENDPOINT, { input: { ...input, image_url: picture } })).data;
await fal.storage.upload(new Blob([new Uint8Array(26_000_000)], { type: "image/png" })).catch((error) => {
  report.tooLarge = error.status;
});
console.log(JSON.stringify(report));
