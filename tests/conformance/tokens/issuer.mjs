// oauth2-mock-server as the token endpoint, and a target that lets in whose token it signed.
//
// What a client is answered depends on its id: "busy" 503, "short" a token of three seconds.
import { createServer } from "node:http";
import { createLocalJWKSet, jwtVerify } from "jose";
import { OAuth2Issuer, OAuth2Service } from "oauth2-mock-server";

const SECRET = "canary-new-secret";
const issuer = new OAuth2Issuer();
await issuer.keys.generate("RS256");
const service = new OAuth2Service(issuer);
const keys = createLocalJWKSet({ keys: issuer.keys.toJSON() });
const seen = [];

// RFC 6749, 2.3.1: in the header, both form-encoded, or in the body.
function client(request) {
  const header = request.headers.authorization;
  if (!header) {
    return { id: request.body.client_id, secret: request.body.client_secret, place: "body" };
  }
  const pair = Buffer.from(header.replace(/^Basic /, ""), "base64").toString().split(":");
  const [id, secret] = pair.map((part) => decodeURIComponent(part.replaceAll("+", " ")));
  return { id, secret, place: "header" };
}

service.on("beforeResponse", (answer, request) => {
  const { id, secret, place } = client(request);
  if (id === "busy") {
    answer.statusCode = 503;
    answer.body = { error: "temporarily_unavailable" };
  } else if (secret !== SECRET) {
    answer.statusCode = 401;
    answer.body = { error: "invalid_client", error_description: `${secret} is wrong` };
  } else if (id === "short") {
    answer.body.expires_in = 3;
  }
  const { scope, audience } = request.body;
  seen.push({ id, place, scope, audience, status: answer.statusCode ?? 200 });
});

async function target(request, response) {
  const body = [];
  for await (const part of request) {
    body.push(part);
  }
  const say = (status, json) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(json));
  };
  try {
    const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
    const { payload } = await jwtVerify(token, keys, { issuer: issuer.url });
    JSON.parse(Buffer.concat(body).toString());
    say(200, { id: `scope ${payload.scope}` });
  } catch (error) {
    say(401, { code: error.code });
  }
}

const server = createServer((request, response) => {
  if (request.url === "/_seen") {
    response.end(JSON.stringify(seen));
  } else if (request.url.startsWith("/customers/")) {
    target(request, response);
  } else {
    service.requestHandler(request, response);
  }
});
server.listen(0, "127.0.0.1", () => {
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ url: issuer.url }));
});
