// npm oidc-provider, an OpenID provider that is certified. Its keys and state are in memory.
//
//   node provider.mjs PORT
//
// Each line of standard input is {keys, clients}: private JWKs, and clients. From then on it signs with the first key
// that fits; it answers "ready". It listens once it has had the first one.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider, { errors } from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
// What a resource is told from another by: the form of its tokens, and the algorithm they are signed with.
const resources = {
  'https://api.test': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'https://api.test/ps256': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'PS256' } } },
  'https://api.test/es256': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'https://api.test/eddsa': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'Ed25519' } } },
  'https://other.test': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'https://opaque.test': { accessTokenFormat: 'opaque' },
  'https://opaque.test/other': { accessTokenFormat: 'opaque' },
};

function provider({ keys, clients }) {
  return new Provider(issuer, {
    jwks: { keys },
    clients: clients.map((client) => ({
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'api:read api:write', ...client,
    })),
    scopes: ['api:read', 'api:write'],
    extraTokenClaims: (_context, token) => ({ customer_id: `customer of ${token.clientId}`, roles: ['editor', 'viewer'] }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(_context, resource) {
          if (!Object.hasOwn(resources, resource)) throw new errors.InvalidTarget();
          return { audience: resource, scope: 'api:read api:write', accessTokenTTL: 600, ...resources[resource] };
        },
      },
    },
  });
}

let current;
const server = createServer((request, response) => current(request, response));
createInterface({ input: process.stdin }).on('line', (line) => {
  current = provider(JSON.parse(line)).callback();
  if (server.listening) console.log('ready');
  else server.listen(port, '127.0.0.1', () => console.log('ready'));
}).on('close', () => process.exit());
