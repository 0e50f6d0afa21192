// Identity providers and their keys: a real OpenID provider by discovery, and discovery documents that are not
// to be trusted.
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openProviders, type Providers } from '../../../src/broker/identity/providers.ts'
import { sessionOf } from '../../../src/broker/identity/session.ts'
import { createSubjectVerifier } from '../../../src/broker/identity/subject.ts'
import type { IdentityProvider } from '../../../src/broker/parties.ts'
import { startIdentityProvider, type TestProvider } from '../../support/identity_provider.ts'
import { type Json, testKey } from '../../support/tokens.ts'
import { audience, no, now, openWorld, sign, triage, type World, yes } from './harness.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

const usual: Omit<IdentityProvider, 'issuer'> = {
  audience,
  keys: { discovery: true },
  algorithms: ['ES256', 'RS256'],
  accept: ['id_token', 'access_token'],
  subjects: 'users',
  userClaim: 'sub',
  maxAgeSeconds: 3600,
  clockTolerance: 5,
}

async function open(issuer: string, more: Partial<IdentityProvider> = {}): Promise<Providers> {
  const providers = await openProviders([{ ...usual, ...more, issuer }])
  cleanups.push(() => providers.close())
  return providers
}

/** A loopback server; `asked` holds the paths that were asked for. */
async function serve(listener: RequestListener) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const usable = (providers: Providers) => providers.status()[0]!.keys
const key = testKey('k')
const jwks = { keys: [key.jwk] }

describe('a real OpenID provider', () => {
  let provider: TestProvider
  let world: World
  beforeAll(async () => {
    provider = await startIdentityProvider()
    world = await openWorld()
  })
  afterAll(async () => {
    provider.close()
    await world.close()
  })

  /** What a subject verifier that has found the provider's keys by discovery says about a token. */
  async function verify(token: string, type: string, more: Partial<IdentityProvider> = {}) {
    const providers = await open(provider.issuer, more)
    const replay = { use: async () => true }
    const subjects = createSubjectVerifier({ providers, issuer: 'https://broker.example', replay })
    return subjects.verify(
      token,
      `urn:ietf:params:oauth:token-type:${type}`,
      triage(world),
      Date.now() / 1000,
    )
  }

  test('says who has logged in by its ID token', async () => {
    const { idToken } = await provider.login()
    const subject = yes(await verify(idToken, 'id_token', { userClaim: 'email' }))
    expect(subject).toMatchObject({
      kind: 'user',
      id: 'alice@example.com',
      login: { issuer: provider.issuer, subject: 'usr_alice' },
      groups: ['support'],
    })
    const { sid } = JSON.parse(Buffer.from(idToken.split('.')[1]!, 'base64url').toString()) as { sid: string }
    expect(subject.session).toBe(sessionOf(provider.issuer, sid))
  })

  test('says so by its access token as well, and neither passes for the other', async () => {
    const { idToken, accessToken } = await provider.login()
    expect(yes(await verify(accessToken, 'access_token')).id).toBe('usr_alice')
    expect(no(await verify(accessToken, 'id_token'))).toMatchObject({ cause: 'typ_not_allowed' })
    expect(no(await verify(idToken, 'access_token'))).toMatchObject({ cause: 'typ_not_allowed' })
    expect(no(await verify(idToken, 'jwt'))).toMatchObject({ cause: 'use_not_accepted' })
  })

  test('is not believed for another audience, or with an algorithm that is not configured', async () => {
    const { idToken } = await provider.login()
    expect(no(await verify(idToken, 'id_token', { audience: 'another' }))).toMatchObject({
      cause: 'audience_not_allowed',
    })
    expect(no(await verify(idToken, 'id_token', { algorithms: ['ES256'] }))).toMatchObject({
      cause: 'alg_not_allowed',
    })
  })
})

describe('discovery', () => {
  /** A provider whose document and keys are these; `%` in the document stands for its origin. */
  async function discovered(document: Json | string, path = '') {
    const text = typeof document === 'string' ? document : JSON.stringify(document)
    const server = await serve((request, response) => {
      if (request.url === '/jwks') response.end(JSON.stringify(jwks))
      else if (request.url !== `${path}/.well-known/openid-configuration`) response.writeHead(404).end()
      else response.end(text.replaceAll('%', server.origin))
    })
    return { keys: usable(await open(`${server.origin}${path}`)), asked: server.asked }
  }

  test('finds the keys of an issuer', async () => {
    expect((await discovered({ issuer: '%', jwks_uri: '%/jwks' })).keys).toBe(1)
  })

  test('finds those of an issuer with a path, or with a slash at its end', async () => {
    const inRealm = await discovered({ issuer: '%/realms/acme', jwks_uri: '%/jwks' }, '/realms/acme')
    expect(inRealm.keys).toBe(1)
    const server = await serve((request, response) =>
      response.end(
        JSON.stringify(
          request.url === '/jwks' ? jwks : { issuer: `${server.origin}/`, jwks_uri: `${server.origin}/jwks` },
        ),
      ),
    )
    expect(usable(await open(`${server.origin}/`))).toBe(1)
    expect(server.asked).toEqual(['/.well-known/openid-configuration', '/jwks'])
  })

  test.each([
    ['of another issuer', { issuer: 'https://login.example', jwks_uri: '%/jwks' }],
    ['of the issuer with a slash more', { issuer: '%/', jwks_uri: '%/jwks' }],
    ['of nobody', { jwks_uri: '%/jwks' }],
    ['without jwks_uri', { issuer: '%' }],
    ['whose jwks_uri is no text', { issuer: '%', jwks_uri: ['%/jwks'] }],
    ['whose jwks_uri is relative', { issuer: '%', jwks_uri: '/jwks' }],
    ['whose jwks_uri is plain http elsewhere', { issuer: '%', jwks_uri: 'http://keys.example/jwks' }],
    ['whose jwks_uri is a file', { issuer: '%', jwks_uri: 'file:///etc/jwks.json' }],
    ['whose jwks_uri has a user', { issuer: '%', jwks_uri: 'http://u:p@127.0.0.1/jwks' }],
    ['with a member twice', '{"issuer":"https://x.example","issuer":"%","jwks_uri":"%/jwks"}'],
    ['that is a list', '[]'],
    ['that is HTML', '<html>'],
    ['that is larger than 64 KiB', { issuer: '%', jwks_uri: '%/jwks', pad: 'x'.repeat(1 << 16) }],
  ])('asks for no keys because of a document %s', async (_, document) => {
    const { keys, asked } = await discovered(document)
    expect([keys, asked]).toEqual([0, ['/.well-known/openid-configuration']])
  })

  test('follows no redirect, neither of the document nor of the keys', async () => {
    const target = await serve((_request, response) => response.end(JSON.stringify(jwks)))
    const moved = await serve((_request, response) =>
      response.writeHead(302, { location: target.origin }).end(),
    )
    expect(usable(await open(moved.origin))).toBe(0)
    const server = await serve((request, response) =>
      request.url === '/jwks'
        ? response.writeHead(307, { location: target.origin }).end()
        : response.end(JSON.stringify({ issuer: server.origin, jwks_uri: `${server.origin}/jwks` })),
    )
    expect(usable(await open(server.origin))).toBe(0)
    expect(target.asked).toEqual([])
  })

  test('reaches nothing on this machine for an issuer elsewhere', async () => {
    const local = await serve((_request, response) => response.end(JSON.stringify(jwks)))
    const issuer = 'https://login.example'
    const document = Buffer.from(JSON.stringify({ issuer, jwks_uri: `${local.origin}/jwks` }))
    const asked: string[] = []
    const providers = await openProviders([{ ...usual, issuer }], {
      fetch: async (url) => {
        asked.push(url)
        return document
      },
    })
    cleanups.push(() => providers.close())
    expect(usable(providers)).toBe(0)
    expect(asked).toEqual([`${issuer}/.well-known/openid-configuration`])
  })

  test('that fails is worth another try: 503 until the keys are there', async () => {
    const state = { up: false }
    const server = await serve((request, response) => {
      if (!state.up) return void request.socket.destroy()
      const document = { issuer: server.origin, jwks_uri: `${server.origin}/jwks` }
      response.end(JSON.stringify(request.url === '/jwks' ? jwks : document))
    })
    const clock = { ms: now * 1000 }
    const provider = { ...usual, issuer: server.origin }
    const providers = await openProviders([provider], { now: () => clock.ms })
    cleanups.push(() => providers.close())
    const token = {
      text: sign({ alg: 'ES256', kid: 'k' }, { a: 1 }, key),
      typ: undefined,
      alg: 'ES256',
      kid: 'k',
      claims: {},
    }
    expect(no(await providers.prove(token, provider))).toEqual({
      code: 'evidence_unavailable',
      cause: 'keys_unavailable',
    })
    state.up = true
    clock.ms += 30_000
    expect(no(await providers.prove(token, provider))).toBe('accepted')
  })
})

describe('keys of a provider', () => {
  const rsa = testKey('r', 'RS256').jwk
  const ec = testKey('e').jwk
  const without = (jwk: Json, ...names: string[]) =>
    Object.fromEntries(Object.entries(jwk).filter(([name]) => !names.includes(name)))
  const rows: [name: string, jwk: Json, more: Partial<IdentityProvider>, used: boolean][] = [
    ['that leave alg open are for the one algorithm that fits', without(rsa, 'alg'), {}, true],
    ['on a curve are for its algorithm', without(ec, 'alg'), {}, true],
    ['that leave alg open where two fit', without(rsa, 'alg'), { algorithms: ['RS256', 'PS256'] }, false],
    ['that leave alg open where none fits', without(ec, 'alg'), { algorithms: ['RS256'] }, false],
    ['whose alg is no text', { ...rsa, alg: 7 }, {}, false],
    ['for JWT-SVIDs, of a provider of agents', { ...ec, use: 'jwt-svid' }, { subjects: 'agents' }, true],
    ['for JWT-SVIDs, of a provider of users', { ...ec, use: 'jwt-svid' }, {}, false],
    ['for X.509-SVIDs, of a provider of agents', { ...ec, use: 'x509-svid' }, { subjects: 'agents' }, false],
  ]
  test.each(rows)('%s', async (_, jwk, more, used) => {
    const server = await serve((_request, response) => response.end(JSON.stringify({ keys: [jwk] })))
    const providers = await open('https://login.example', { ...more, keys: { url: `${server.origin}/jwks` } })
    expect(usable(providers) === 1).toBe(used)
  })
})
