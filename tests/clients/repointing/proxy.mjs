// Points fal's JavaScript client at FAL_SELF_HOSTED by its own setting for proxies: node --import ./proxy.mjs
import { fal } from "@fal-ai/client";

const url = `${process.env.FAL_SELF_HOSTED}/api/fal/proxy`;
fal.config({ credentials: process.env.FAL_KEY, proxyUrl: { url, when: "always" } });
