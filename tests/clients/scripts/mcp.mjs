// The tool with MCP's own JavaScript client: its fields, a call with progress, and a fault. ADDRESS
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const client = new Client({ name: "test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(`${process.argv[2]}/gradio_api/mcp/`)));
const tool = (await client.listTools()).tools.find(({ name }) => name.endsWith("image_to_video"));
const steps = tool.inputSchema.properties.num_inference_steps;
const picture = { image_url: "https://example.com/a.png", prompt: "a walk", seed: 7 };
const call = (values, options) => client.callTool({ name: tool.name, arguments: { ...picture, ...values } }, undefined, options);
let heard = 0;
const made = await call({}, { onprogress: () => (heard += 1) });
const refused = await call({ num_inference_steps: 99 }).then(
  ({ isError, content }) => ({ isError, text: content.map(({ text }) => text).join() }),
  (error) => ({ isError: true, text: error.message }),
);
console.log(JSON.stringify({ steps, heard, isError: made.isError ?? false, content: made.content, refused }));
await client.close();
process.exit(0);
