// One endpoint with the provider of Vercel's AI SDK, and a prompt that is refused. ENDPOINT
import { fal } from "@ai-sdk/fal";

const [endpoint] = process.argv.slice(2);
const image = { type: "url", url: "https://example.com/a.png" };
const options = { n: 1, image, seed: 7, providerOptions: { fal: { pollIntervalMs: 100, resolution: "480p" } } };
const model = fal.video(endpoint);
const made = await model.doGenerate({ ...options, prompt: "a walk" });
const refused = await model.doGenerate({ ...options, prompt: "refused now" }).then(
  () => "a clip",
  (error) => error.statusCode,
);
const [{ url, mediaType }] = made.videos;
const bytes = (await (await fetch(url)).arrayBuffer()).byteLength;
console.log(JSON.stringify({ mediaType, bytes, width: made.providerMetadata.fal.videos[0].width, refused }));
