// A custom handler with nothing but Node's own library: writes down what it is sent, and answers.
"use strict";

const fs = require("fs");
const http = require("http");

function answer(name, body) {
  if (name === "Web") {
    const { Params, Body } = body.Data.req;
    const headers = { "Content-Type": "application/json" };
    return { Outputs: { res: { statusCode: 201, headers, body: { id: Params.id, got: Body } } } };
  }
  if (name !== "Orders") return {};
  const text = JSON.parse(body.Data.msg);
  console.log(`order ${text}`);
  return { Outputs: { outq: [`seen ${text}`] }, Logs: ["an order was seen"] };
}

http
  .createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const name = request.url.slice(1);
      if (request.method !== "POST") return response.writeHead(404).end();
      const body = JSON.parse(Buffer.concat(chunks).toString());
      const line = { name, pid: process.pid, at: Date.now(), headers: request.headers, body };
      fs.appendFileSync(process.env.SEEN, JSON.stringify(line) + "\n");
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end(JSON.stringify(answer(name, body)));
    });
  })
  .listen(Number(process.env.FUNCTIONS_CUSTOMHANDLER_PORT), "127.0.0.1");
