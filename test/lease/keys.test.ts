import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type KeyOptions, type KeySource, type Keys, openKeys } from '../../src/lease/keys.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { type TestAlg, testIssuer, testKey } from '../support/tokens.ts'

const now = 1_795_300_000
const issuer = 'https://broker.example'
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

/** A real key server; `hits` counts the requests that it has seen. */
async function serve(listener: RequestListener) {
  const server = createServer((request, response) => {
    seen.hits++
    listener(request, response)
  })
  const seen = { hits: 0, url: '' }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  seen.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  return seen
}

async function open(jwks: KeySource['jwks'], options: KeyOptions = {}): Promise<Keys> {
  const keys = await openKeys([{ issuer, jwks }], options)
  cleanups.push(() => keys.close())
  return keys
}

const json =
  (value: () => unknown): RequestListener =>
  (_request, response) =>
    response.end(JSON.stringify(value()))

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-keys-'))
  cleanups.push(() => rmSync(dir, { recursive: true }))
  return dir
}

describe('which keys of a set are used', () => {
  const ec = testKey('k').jwk
  const rsa = testKey('k', 'RS256').jwk
  const okp = testKey('k', 'EdDSA').jwk
  const { d } = testKey('k').privateKey.export({ format: 'jwk' })
  const rows: [name: string, members: unknown[], alg: TestAlg | string, used: boolean][] = [
    ['an EC key', [ec], 'ES256', true],
    ['an RSA key', [rsa], 'RS256', true],
    ['an Ed25519 key', [okp], 'EdDSA', true],
    ['a key without use', [{ ...ec, use: undefined }], 'ES256', true],
    ['a key that may verify', [{ ...ec, key_ops: ['verify'] }], 'ES256', true],
    [
      'a key beside one that is not usable',
      [{ kty: 'oct', k: 'c2VjcmV0', kid: 'o' }, null, 7, ec],
      'ES256',
      true,
    ],
    ['a key for encryption', [{ ...ec, use: 'enc' }], 'ES256', false],
    ['a key that may only sign', [{ ...ec, key_ops: ['sign'] }], 'ES256', false],
    ['a key without alg', [{ ...ec, alg: undefined }], 'ES256', false],
    ['a key with the alg of another curve', [{ ...ec, alg: 'ES384' }], 'ES384', false],
    ['a key with the alg of another type', [{ ...rsa, alg: 'ES256' }], 'ES256', false],
    ['a key for another alg than asked', [rsa], 'PS256', false],
    ['a symmetric key', [{ kty: 'oct', k: 'c2VjcmV0', kid: 'k', alg: 'HS256' }], 'HS256', false],
    [
      'a symmetric key under an asymmetric alg',
      [{ kty: 'oct', k: 'c2VjcmV0', kid: 'k', alg: 'ES256' }],
      'ES256',
      false,
    ],
    ['a key without kid', [{ ...ec, kid: undefined }], 'ES256', false],
    ['a key whose kid is no text', [{ ...ec, kid: 7 }], 'ES256', false],
    ['a point off the curve', [{ ...ec, y: ec.x }], 'ES256', false],
    ['a key without y', [{ ...ec, y: undefined }], 'ES256', false],
    ['an RSA key of 1024 bits', [{ ...rsa, n: String(rsa.n).slice(0, 171) }], 'RS256', false],
    ['an RSA key without a modulus', [{ ...rsa, n: undefined }], 'RS256', false],
    ['an Ed25519 key without x', [{ ...okp, x: undefined }], 'EdDSA', false],
    ['two keys under one kid', [ec, testKey('k').jwk], 'ES256', false],
  ]
  test.each(rows)('%s', async (_name, members, alg, used) => {
    const { url } = await serve(json(() => ({ keys: members })))
    const keys = await open({ url })
    expect(keys.find(issuer, 'k', alg) !== undefined).toBe(used)
  })

  test('a private key serves as the public key that it contains', async () => {
    const { url } = await serve(json(() => ({ keys: [{ ...ec, d }] })))
    const handle = (await open({ url })).find(issuer, 'k', 'ES256')?.handle
    expect([handle?.type, handle?.usages]).toEqual(['public', ['verify']])
  })

  test('keys of one issuer are not those of another', async () => {
    const { url } = await serve(json(() => ({ keys: [ec] })))
    const keys = await open({ url })
    expect(keys.find('https://other.example', 'k', 'ES256')).toBeUndefined()
    expect(keys.known('https://other.example')).toBe(false)
  })
})

describe('an answer that is no key set is refused, and the gate starts all the same', () => {
  const set = JSON.stringify({ keys: [testKey('k').jwk] })
  const rows: [name: string, listener: RequestListener][] = [
    ['an error', (_request, response) => response.writeHead(500).end(set)],
    ['204', (_request, response) => response.writeHead(204).end()],
    ['HTML', (_request, response) => response.end('<html></html>')],
    ['a bare array', (_request, response) => response.end('[]')],
    ['no keys', (_request, response) => response.end('{}')],
    ['a duplicate member', (_request, response) => response.end(set.replace('{', '{"keys":[],'))],
    [
      'more than 256 KiB',
      (_request, response) => response.end(set.replace('{', `{"pad":"${'x'.repeat(1 << 18)}",`)),
    ],
    [
      'an endless answer',
      (_request, response) => void setInterval(() => response.write(' '.repeat(65536)), 1).unref(),
    ],
    [
      'an answer that breaks off',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 9999 }).write(set)
        response.destroy()
      },
    ],
    ['a connection that is dropped', (request) => request.socket.destroy()],
  ]
  test.each(rows)('%s', async (_name, listener) => {
    const { url } = await serve(listener)
    const keys = await open({ url })
    expect(keys.known(issuer)).toBe(false)
    expect(keys.status()).toEqual([{ issuer, keys: 0, confirmedAt: undefined }])
  })

  test('a redirect, whose target is never asked', async () => {
    const target = await serve(json(() => ({ keys: [testKey('k').jwk] })))
    const { url } = await serve((_request, response) =>
      response.writeHead(302, { location: target.url }).end(),
    )
    const keys = await open({ url })
    expect([keys.known(issuer), target.hits]).toEqual([false, 0])
  })

  test('silence, for two seconds at most', async () => {
    const { url } = await serve(() => undefined)
    expect((await open({ url })).known(issuer)).toBe(false)
  })

  test('nobody there', async () => {
    expect((await open({ url: 'http://127.0.0.1:1/jwks' })).known(issuer)).toBe(false)
  })
})

describe('a verifier whose issuer publishes by URL', () => {
  /** One issuer with a switch, a clock and a verifier in front. */
  async function setup() {
    const broker = testIssuer({ now })
    const state = { up: true, nowMs: now * 1000, keys: [broker.key.jwk] }
    const server = await serve((request, response) =>
      state.up ? json(() => ({ keys: state.keys }))(request, response) : void request.socket.destroy(),
    )
    const keysOf = () => open({ url: server.url }, { now: () => state.nowMs })
    const verifierOf = (keys: Keys) => createVerifier({ issuers: [broker.profile()], keys })
    const verify = (keys: Keys, token: string) => verifierOf(keys).verify(token, now, [broker.audience])
    return { broker, state, server, keysOf, verify }
  }

  test('that is down at start answers 503, and 200 once the keys are there', async () => {
    const { broker, state, keysOf, verify } = await setup()
    state.up = false
    const keys = await keysOf()
    expect(await verify(keys, broker.token())).toMatchObject({
      code: 'evidence_unavailable',
      facts: { cause: 'keys_unavailable' },
    })
    state.up = true
    state.nowMs += 30_000
    expect(await verify(keys, broker.token())).toMatchObject({ id: 'lse_01TEST' })
  })

  test('finds a new key because a token names it', async () => {
    const { broker, state, keysOf, verify } = await setup()
    const keys = await keysOf()
    const next = testKey('next')
    state.keys = [broker.key.jwk, next.jwk]
    const token = broker.raw({ typ: 'at+jwt', alg: 'ES256', kid: 'next' }, broker.claims(), next)
    expect(await verify(keys, token)).toMatchObject({ id: 'lse_01TEST' })
  })

  test.each([true, false])(
    'asks at most once in 30 s because of hostile kids (issuer up: %s)',
    async (up) => {
      const { broker, state, server, keysOf, verify } = await setup()
      const keys = await keysOf()
      state.up = up
      const before = server.hits
      const hostile = [
        '../../x',
        '__proto__',
        'https://evil.example/',
        ...Array.from({ length: 50 }, (_, n) => `k${n}`),
      ]
      await Promise.all(hostile.slice(0, 20).map((kid) => verify(keys, broker.token({}, { kid }))))
      for (const kid of hostile) {
        expect(await verify(keys, broker.token({}, { kid }))).toMatchObject({ code: 'lease_invalid' })
      }
      expect(server.hits - before).toBe(1)
      state.nowMs += 30_000
      await verify(keys, broker.token({}, { kid: 'again' }))
      expect(server.hits - before).toBe(2)
    },
  )

  test('never asks because of a kid that is not plain, or of an issuer that is unknown', async () => {
    const { broker, server, keysOf, verify } = await setup()
    const keys = await keysOf()
    await verify(keys, broker.token({}, { kid: 'a\nb' }))
    await verify(keys, broker.token({ iss: 'https://evil.example' }, { kid: 'x' }))
    await verify(keys, broker.token({}, { kid: 'x', jku: server.url }))
    expect(server.hits).toBe(1)
  })

  test('uses the last good keys for ten minutes of an outage and not longer', async () => {
    const { broker, state, keysOf, verify } = await setup()
    const keys = await keysOf()
    state.up = false
    state.nowMs += 599_999
    expect(await verify(keys, broker.token())).toMatchObject({ id: 'lse_01TEST' })
    state.nowMs += 1
    expect(await verify(keys, broker.token())).toMatchObject({ code: 'evidence_unavailable' })
    expect(keys.status()).toMatchObject([{ keys: 0 }])
  })

  test('keeps a key through refreshes, and drops one that has been withdrawn', async () => {
    const { broker, state, keysOf } = await setup()
    const keys = await keysOf()
    const find = () => keys.find(issuer, broker.key.kid, 'ES256')
    const first = find()
    state.keys = [testKey('next').jwk, broker.key.jwk]
    await keys.refresh(issuer)
    expect(first).toBeDefined()
    expect(find()).toBe(first)
    state.keys = []
    state.nowMs += 30_000
    await keys.refresh(issuer)
    expect([find(), keys.known(issuer)]).toEqual([undefined, true])
  })

  test('refreshes in the background before its keys are too old', async () => {
    const { server } = await setup()
    await open({ url: server.url }, { maxAgeSeconds: 0.1 })
    await vi.waitFor(() => expect(server.hits).toBeGreaterThan(2))
  })

  test('asks no more after it has been closed', async () => {
    const { server } = await setup()
    const keys = await open({ url: server.url }, { maxAgeSeconds: 0.02 })
    keys.close()
    const hits = server.hits
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(server.hits).toBe(hits)
  })
})

describe('keys from a file', () => {
  const set = (...kids: string[]) => JSON.stringify({ keys: kids.map((kid) => testKey(kid).jwk) })

  test('are read again once the file has been replaced or rewritten', async () => {
    const file = join(scratch(), 'jwks.json')
    writeFileSync(file, set('a'))
    const keys = await open({ file })
    expect(keys.find(issuer, 'a', 'ES256')).toBeDefined()
    writeFileSync(`${file}.new`, set('b'))
    renameSync(`${file}.new`, file)
    await vi.waitFor(() => expect(keys.find(issuer, 'b', 'ES256')).toBeDefined(), 10_000)
    expect(keys.find(issuer, 'a', 'ES256')).toBeUndefined()
    writeFileSync(file, set('c'))
    await vi.waitFor(() => expect(keys.find(issuer, 'c', 'ES256')).toBeDefined(), 10_000)
  })

  test('survive a file that is broken for a while', async () => {
    const file = join(scratch(), 'jwks.json')
    writeFileSync(file, set('a'))
    let nowMs = now * 1000
    const keys = await open({ file }, { now: () => nowMs })
    writeFileSync(file, '{"keys": [')
    await keys.refresh(issuer)
    expect(keys.find(issuer, 'a', 'ES256')).toBeDefined()
    nowMs += 600_000
    expect(keys.find(issuer, 'a', 'ES256')).toBeUndefined()
  })

  test('are not read from a file of more than 256 KiB', async () => {
    const file = join(scratch(), 'jwks.json')
    writeFileSync(file, set('a') + ' '.repeat(1 << 18))
    expect((await open({ file })).known(issuer)).toBe(false)
  })

  test('that does not exist yet come when it does', async () => {
    const file = join(scratch(), 'jwks.json')
    const keys = await open({ file })
    expect(keys.known(issuer)).toBe(false)
    writeFileSync(file, set('a'))
    await vi.waitFor(() => expect(keys.known(issuer)).toBe(true), 10_000)
  })
})

test('local keys without a local broker are unknown keys', async () => {
  expect((await open({ local: true })).known(issuer)).toBe(false)
})
