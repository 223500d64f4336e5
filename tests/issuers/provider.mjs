// npm's certified oidc-provider as an issuer for tests: RFC 9068 access tokens for
// client credentials, one resource (RFC 8707) for each algorithm.
//
//   node provider.mjs [port]
//
// prints {"issuer": "http://127.0.0.1:..."} when it listens. Beside the provider's own
// endpoints there are
//
//   POST /__rotate   publish a new key of each algorithm, and sign with it
//   POST /__drop     publish only the keys that sign now
//   POST /__down     answer 503 to everything but these
//   POST /__up       answer again
//   GET  /__hits     how often metadata and keys were asked for, whatever the answer

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider, { errors } from 'oidc-provider';

const PAIRS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519'],
};
const ALGORITHMS = new Map(
  Object.keys(PAIRS).map((alg) => [`https://api.example/${alg.toLowerCase()}`, alg]),
);

const hits = { metadata: 0, jwks: 0 };
let down = false;
let issuer;
let generation = 0;
let published = []; // the newest first
let answer;

function kid(alg) {
  return `${alg}-${generation}`;
}

function newKeys() {
  generation += 1;
  return Object.entries(PAIRS).map(([alg, pair]) => ({
    ...generateKeyPairSync(...pair).privateKey.export({ format: 'jwk' }),
    kid: kid(alg),
    alg,
    use: 'sig',
  }));
}

// A provider's keys are fixed when it is made: other keys, another provider.
function publish(keys) {
  published = keys;
  const provider = new Provider(issuer, {
    jwks: { keys },
    scopes: ['read', 'write'],
    clients: [
      {
        client_id: 'service',
        client_secret: 'made-up',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
    ],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => resourceServer(resource),
      },
    },
    ttl: { ClientCredentials: 600 },
  });
  answer = provider.callback();
}

function resourceServer(resource) {
  const alg = ALGORITHMS.get(resource);
  if (!alg) throw new errors.InvalidTarget();
  return {
    scope: 'read write',
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg, kid: kid(alg) } },
  };
}

const ADMINISTRATION = {
  'POST /__rotate': () => publish([...newKeys(), ...published]),
  'POST /__drop': () => publish(published.slice(0, ALGORITHMS.size)),
  'POST /__down': () => { down = true; },
  'POST /__up': () => { down = false; },
  'GET /__hits': () => hits,
};

const server = createServer((request, response) => {
  const administer = ADMINISTRATION[`${request.method} ${request.url}`];
  if (administer) {
    response.end(JSON.stringify(administer() ?? {}));
    return;
  }
  if (request.url.startsWith('/.well-known/')) hits.metadata += 1;
  if (request.url === '/jwks') hits.jwks += 1;
  if (down) {
    response.writeHead(503).end();
    return;
  }
  answer(request, response);
});

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  publish(newKeys());
  console.log(JSON.stringify({ issuer }));
});
