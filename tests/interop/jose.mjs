// Tokens and key sets by npm jose. Reads {keys, jobs} as JSON from standard input, and writes {jwks, tokens}.
//
// A job: {alg, key, header, claims}, where key names one of `keys` (PEM, or base64 of a shared secret); with
// `unsecured` it is a token without signature (RFC 7519 §6), with `extension` a critical header of that name.
import { CompactSign, SignJWT, UnsecuredJWT, exportJWK, importPKCS8, importSPKI } from 'jose';
import { text } from 'node:stream/consumers';

const { keys, jobs } = JSON.parse(await text(process.stdin));

async function signing(name, alg) {
  const key = keys[name];
  return key.secret ? Buffer.from(key.secret, 'base64') : importPKCS8(key.private, alg);
}

async function token({ alg, key, header, claims, unsecured, extension }) {
  if (unsecured) return new UnsecuredJWT(claims).encode();
  const signer = await signing(key, alg);
  const known = extension ? { crit: { [extension]: true } } : undefined;
  if (extension === 'b64') {
    const payload = new TextEncoder().encode(JSON.stringify(claims));
    return new CompactSign(payload).setProtectedHeader({ alg, ...header }).sign(signer, known);
  }
  return new SignJWT(claims).setProtectedHeader({ alg, ...header }).sign(signer, known);
}

const jwks = { keys: [] };
for (const [kid, key] of Object.entries(keys)) {
  if (key.published) {
    jwks.keys.push({ ...(await exportJWK(await importSPKI(key.public, key.alg, { extractable: true }))), kid, use: 'sig' });
  }
}
const tokens = [];
for (const job of jobs) tokens.push(await token(job));
process.stdout.write(JSON.stringify({ jwks, tokens }));
