// Points every request for fal's hosts at FAL_SELF_HOSTED: node --import ./fetch.mjs
import { fal } from "@fal-ai/client";

const prefixes = { "fal.run": "/run", "queue.fal.run": "/queue", "rest.fal.ai": "/rest", "v3.fal.media": "/cdn" };
const fetched = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const { host, pathname, search } = new URL(String(input));
  const prefix = prefixes[host];
  return fetched(prefix ? `${process.env.FAL_SELF_HOSTED}${prefix}${pathname}${search}` : input, init);
};
fal.config({ credentials: process.env.FAL_KEY });
