// A certified OpenID provider on loopback, for the stories of single sign-on. One argument, JSON:
// {port, redirect_uri?, secret, key?}: `key` is the JWK it signs with, else the library's own for development.
// Whoever logs in is the account of that name at acme.example; `unverified` has an address that is not proven.
import Provider from 'oidc-provider';

const { port, redirect_uri, secret, key } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

const account = (id) => ({
  accountId: id,
  claims: () => ({
    sub: id,
    email: `${id}@acme.example`,
    email_verified: id !== 'unverified',
    name: `${id} of Acme`,
    groups: id === 'chief' ? ['chiefs', 'people'] : ['people'],
  }),
});

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'rowhouse',
      client_secret: secret,
      redirect_uris: [redirect_uri ?? 'http://127.0.0.1:1/not-yet'],
      grant_types: ['authorization_code'],
      response_types: ['code'],
    },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  findAccount: (_, id) => account(id),
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  ...(key ? { jwks: { keys: [key] } } : {}),
});
provider.listen(port, '127.0.0.1', () => console.log('ready'));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
