// The certified OpenID provider of npm with one machine's credentials, to be asked for tokens by them beside Rowhouse; or, with `verify`, the
// library `jose` verifying the tokens of a file. One argument, JSON: {port, secret} or {verify: FILE}.
import { readFileSync } from 'node:fs';

const { port, secret, verify } = JSON.parse(process.argv[2]);

async function verified(file) {
  const { importJWK, jwtVerify } = await import('jose');
  const { issuer, audience, jwk, tokens } = JSON.parse(readFileSync(file, 'utf8'));
  const key = await importJWK(jwk, 'EdDSA');
  const rules = { issuer, audience, algorithms: ['EdDSA'], typ: 'at+jwt' };
  const round = async () => {
    const begun = process.hrtime.bigint();
    for (const token of tokens) await jwtVerify(token, key, rules);
    return Number(process.hrtime.bigint() - begun) / 1e3 / tokens.length;
  };
  await round();
  const all = [await round(), await round(), await round()].sort((a, b) => a - b);
  console.log(all[1]);
}

async function serve() {
  const { default: Provider } = await import('oidc-provider');
  const { generateKeyPairSync } = await import('node:crypto');
  const jwk = { ...generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }), alg: 'EdDSA', use: 'sig' };
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: 'machine', client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }],
    jwks: { keys: [jwk] },
    enabledJWA: { idTokenSigningAlgValues: ['EdDSA'] },
    clientDefaults: { id_token_signed_response_alg: 'EdDSA' },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:bench',
        getResourceServerInfo: () => ({
          scope: '', audience: 'urn:bench', accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'EdDSA' } },
        }),
      },
    },
  });
  provider.listen(port, '127.0.0.1', () => console.log('ready'));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

await (verify ? verified(verify) : serve());
