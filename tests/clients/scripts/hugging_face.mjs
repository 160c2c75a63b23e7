// One endpoint with @huggingface/inference, which asks fal directly. ENDPOINT PICTURE
import { readFile } from "node:fs/promises";
import { InferenceClient } from "@huggingface/inference";

const [endpoint, picture] = process.argv.slice(2);
const mapping = { "fal-ai": { providerId: endpoint, status: "live", task: "image-to-video" } };
const proxy = `${process.env.FAL_SELF_HOSTED}/api/fal/proxy`;
const fetched = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const url = String(input);
  if (url.startsWith("https://huggingface.co/")) // which would say where the model is served
    return Response.json({ inferenceProviderMapping: mapping });
  if (url.startsWith("https://queue.fal.run/"))
    return fetched(proxy, { ...init, headers: { ...init.headers, "x-fal-target-url": url } });
  return fetched(input, init);
};
const inputs = new Blob([await readFile(picture)], { type: "image/png" });
const awake = setInterval(() => {}, 1000); // it waits with timers that do not keep Node running
const client = new InferenceClient(process.env.FAL_KEY);
const clip = await client.imageToVideo({
  provider: "fal-ai",
  model: "Wan-AI/Wan2.2-I2V-A14B",
  inputs,
  parameters: { prompt: "a walk", seed: 7 },
});
clearInterval(awake);
console.log(JSON.stringify({ type: clip.type, bytes: clip.size }));
