// The named endpoint with @gradio/client: a clip, and a fault. ADDRESS
import { Client } from "@gradio/client";

const app = await Client.connect(process.argv[2]);
const image_url = "https://example.com/a.png";
const made = await app.predict("/image_to_video", { image_url, prompt: "a walk", seed: 7 });
const [video, prompt, seed, notes, id] = made.data;
const fault = await app
  .predict("/image_to_video", { image_url, prompt: "a walk", num_inference_steps: 99 })
  .then(() => "a clip", (error) => error.message ?? String(error));
console.log(JSON.stringify({ url: video.url, prompt, seed, notes, id, fault }));
process.exit(0);
