// An OpenID provider that is none of ours: the package oidc-provider on a loopback port, where alice logs in
// without being asked. Its tokens are fetched with oauth4webapi: discovery, authorization code, PKCE.
import { generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as oauth from 'oauth4webapi'
import Provider from 'oidc-provider'

/** What `aud` of its tokens is. */
export const audience = 'leasegate'

const clientId = audience
const clientSecret = 'a-secret-between-the-provider-and-its-test-client'
const redirectUri = 'http://127.0.0.1/callback'
const logoutUri = 'http://127.0.0.1/logout'
const resource = 'urn:leasegate'

/** The client that the console is: it comes back to any port of this machine (RFC 8252 §7.3). */
export const consoleClient = {
  id: 'leasegate-console',
  secret: 'a-secret-between-the-provider-and-the-console',
}
/** The stronger way in which alice logs in where she is asked to. */
export const strongAcr = 'urn:corp:loa:2'

export interface TestProvider {
  readonly issuer: string
  /** What it says of alice from now on, beside `sub`. */
  account: Record<string, unknown>
  /** In which way she logs in from now on; undefined: it does not say. */
  acr: string | undefined
  /** Fresh tokens of a new login of alice. */
  login(): Promise<{ readonly idToken: string; readonly accessToken: string }>
  /** Tells its client that the login session of an ID token is over (OpenID Connect Back-Channel Logout). */
  logout(idToken: string): Promise<void>
  close(): void
}

/**
 * Starts one; `logoutTo`: where it sends logout tokens; `conform`: claims of scopes are at the userinfo endpoint alone
 * (OpenID Connect Core §5.4).
 */
export async function startIdentityProvider(
  logoutTo: () => string = () => logoutUri,
  { conform = false } = {},
): Promise<TestProvider> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const alice: Pick<TestProvider, 'account' | 'acr'> = {
    account: { email: 'alice@example.com', email_verified: true, groups: ['support'] },
    acr: undefined,
  }
  const provider = new Provider(issuer, configuration(logoutTo, alice, conform))
  const callback = provider.callback()
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    if (req.url?.startsWith('/interaction/') !== true) return callback(req, res)
    interact(provider, alice, req, res).catch(() => res.writeHead(500).end())
  })
  return Object.assign(alice, {
    issuer,
    login: () => login(issuer),
    async logout(idToken: string) {
      const { sub, sid } = JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString())
      await (await provider.Client.find(clientId)).backchannelLogout(sub, sid)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}

function configuration(logoutTo: () => string, alice: Pick<TestProvider, 'account'>, conform: boolean) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'idp-1', alg: 'RS256', use: 'sig' }] },
    // Its own refuses to call this machine.
    fetch: (url: URL, { method = '', headers = {}, body = null }: RequestInit) =>
      fetch(String(url) === logoutUri ? logoutTo() : url, { method, headers, body }),
    // Left out, each is announced on the console.
    ttl: { Interaction: 60, Session: 60, Grant: 60, AccessToken: 300, IdToken: 300 },
    cookies: { keys: ['a key that signs cookies'] },
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [redirectUri],
        backchannel_logout_uri: logoutUri,
        backchannel_logout_session_required: true,
      },
      {
        client_id: consoleClient.id,
        client_secret: consoleClient.secret,
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/console/callback', 'http://localhost/console/callback'],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified', 'groups', 'corp'] },
    conformIdTokenClaims: conform,
    acrValues: [strongAcr],
    findAccount: (_: unknown, id: string) => ({
      accountId: id,
      claims: () => ({ sub: id, ...alice.account }),
    }),
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'lease',
          audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  }
}

/** Logs alice in and grants whatever is asked for. */
async function interact(
  provider: Provider,
  { acr }: Pick<TestProvider, 'acr'>,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { prompt, session, params } = await provider.interactionDetails(req, res)
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, {
      login: { accountId: 'usr_alice', ...(acr !== undefined && { acr }) },
    })
  }
  const grant = new provider.Grant({ accountId: session?.accountId ?? '', clientId: params.client_id })
  grant.addOIDCScope('openid email')
  if (params.client_id === clientId) grant.addResourceScope(resource, 'lease')
  await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } })
}

async function login(issuer: string) {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const url = new URL(issuer)
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, insecure))
  const verifier = oauth.generateRandomCodeVerifier()
  const query = new URLSearchParams({
    client_id: clientId,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid email lease',
    resource,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const client = { client_id: clientId }
  const back = await follow(`${server.authorization_endpoint}?${query}`)
  const params = oauth.validateAuthResponse(server, client, back)
  const answer = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    oauth.ClientSecretBasic(clientSecret),
    params,
    redirectUri,
    verifier,
    { ...insecure, additionalParameters: { resource } },
  )
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer)
  return { idToken: tokens.id_token!, accessToken: tokens.access_token }
}

/** Goes from redirect to redirect as a browser does, until one leads back to the client. */
async function follow(start: string): Promise<URL> {
  const cookies = new Map<string, string>()
  for (let url = new URL(start), hops = 0; hops < 10; hops++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(url, { redirect: 'manual', headers: { cookie } })
    await answer.body?.cancel()
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      cookies.set(name!, value!)
    }
    url = new URL(answer.headers.get('location') ?? '', url)
    if (url.href.startsWith(redirectUri)) return url
  }
  throw new Error('the provider never came back')
}
