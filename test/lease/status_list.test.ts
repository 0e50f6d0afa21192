import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { deflateSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createStatusLists } from '../../src/lease/status_list.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { encode, headerOf, type Json, testIssuer, testKey } from '../support/tokens.ts'

const now = 1_795_300_000
const broker = testIssuer({ now })
const keys = await broker.keys()
const header = { ...headerOf(broker.key), typ: 'statuslist+jwt' }

/** What the server answers next; undefined drops the connection. */
let answer: string | undefined
let hits = 0
let uri = ''
const server = createServer((request, response) => {
  hits++
  if (answer === undefined) request.socket.destroy()
  else if (request.url === '/redirect') response.writeHead(302, { location: '/lists/1' }).end()
  else response.writeHead(200, { 'content-type': 'application/statuslist+jwt' }).end(answer)
})
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  uri = `${origin()}/lists/1`
})
afterAll(() => {
  keys.close()
  server.close()
})
beforeEach(() => {
  hits = 0
})

const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const pack = (...bytes: number[]) => deflateSync(Uint8Array.from(bytes)).toString('base64url')

/** Claims of a list of eight one-bit statuses: 1 and 4 are INVALID. */
function list(overrides: Json = {}): Json {
  const status_list = { bits: 1, lst: pack(0b0001_0010) }
  return { sub: uri, iat: now - 10, exp: now + 1000, ttl: 100, status_list, ...overrides }
}

function setup(prefixes = [`${origin()}/lists`]) {
  const lists = createStatusLists({ keys })
  const profile = broker.profile({ statusLists: prefixes })
  const { verify } = createVerifier({ issuers: [profile], keys, statusLists: lists })
  const tokens = new Map<number, string>()
  const use = (idx: number, at = now, from = uri) => {
    const token = tokens.get(idx) ?? broker.token({ status: { status_list: { idx, uri: from } } })
    tokens.set(idx, token)
    return verify(token, at, [broker.audience])
  }
  return { use }
}

const valid = { id: 'lse_01TEST' }
const refusedAs = (code: string, cause: string) => ({ code, facts: { cause } })
const revoked = refusedAs('lease_revoked', 'status_not_valid')
const invalid = refusedAs('lease_invalid', 'status_list_invalid')
const unavailable = refusedAs('evidence_unavailable', 'status_list_unavailable')

describe('the status of a token', () => {
  const rows: [name: string, bits: number, bytes: number[], expected: Record<number, object>][] = [
    [
      'one bit each',
      1,
      [0b0001_0010, 0b1000_0000],
      { 0: valid, 1: revoked, 4: revoked, 7: valid, 15: revoked, 14: valid, 16: invalid },
    ],
    [
      'two bits each',
      2,
      [0b10_00_01_00, 0],
      { 0: valid, 1: revoked, 2: valid, 3: revoked, 7: valid, 8: invalid },
    ],
    ['four bits each', 4, [0xf0, 0x0b], { 0: valid, 1: revoked, 2: revoked, 3: valid, 4: invalid }],
    [
      'eight bits each',
      8,
      [0, 2, 0],
      { 0: valid, 1: revoked, 2: valid, 3: invalid, 9007199254740991: invalid },
    ],
  ]
  test.each(rows)('is read from a list with %s', async (_name, bits, bytes, expected) => {
    answer = broker.raw(header, list({ status_list: { bits, lst: pack(...bytes) } }))
    const { use } = setup()
    for (const [idx, outcome] of Object.entries(expected)) {
      expect(await use(Number(idx))).toMatchObject(outcome)
    }
    expect(hits).toBe(1)
  })

  test('is checked on every use, synchronously while token and list are known', async () => {
    answer = broker.raw(header, list({ ttl: 10 }))
    const { use } = setup()
    expect(await use(0)).toMatchObject(valid)
    expect(use(0)).toMatchObject(valid)
    answer = broker.raw(header, list({ status_list: { bits: 1, lst: pack(1) } }))
    expect(use(0, now + 9)).toMatchObject(valid)
    expect(await use(0, now + 10)).toMatchObject(revoked)
  })

  test('costs one fetch however many ask at once', async () => {
    answer = broker.raw(header, list())
    const { use } = setup()
    const answers = await Promise.all([0, 1, 2, 3, 4].map((idx) => use(idx)))
    expect(answers).toMatchObject([valid, revoked, valid, valid, revoked])
    expect(hits).toBe(1)
  })
})

describe('a list that fails a check refuses the token', () => {
  const other = testKey(broker.key.kid)
  const rows: [name: string, make: () => string][] = [
    ['no JWT', () => '{}'],
    ['an access token', () => broker.raw({ ...header, typ: 'at+jwt' }, list())],
    ['no typ', () => broker.raw({ ...header, typ: undefined }, list())],
    ['another key', () => broker.raw(header, list(), other)],
    ['an unknown key', () => broker.raw({ ...header, kid: 'x' }, list())],
    ['a MAC', () => broker.raw({ ...header, alg: 'HS256' }, list(), { ...broker.key, alg: 'HS256' })],
    ['no signature', () => `${encode({ ...header, alg: 'none' })}.${encode(list())}.`],
    ['a key in the header', () => broker.raw({ ...header, jwk: other.jwk }, list(), other)],
    ['the sub of another list', () => broker.raw(header, list({ sub: `${uri}0` }))],
    ['no sub', () => broker.raw(header, list({ sub: undefined }))],
    ['another iss', () => broker.raw(header, list({ iss: 'https://evil.example' }))],
    ['an iat in the future', () => broker.raw(header, list({ iat: now + 6 }))],
    ['no iat', () => broker.raw(header, list({ iat: undefined }))],
    ['an exp in the past', () => broker.raw(header, list({ exp: now - 5 }))],
    ['an exp that is no number', () => broker.raw(header, list({ exp: 'never' }))],
    ['exp null', () => broker.raw(header, list({ exp: null }))],
    ['a list that is no object', () => broker.raw(header, list({ status_list: pack(0) }))],
    ['an lst that is no text', () => broker.raw(header, list({ status_list: { bits: 1, lst: [0] } }))],
    ['a negative ttl', () => broker.raw(header, list({ ttl: -1 }))],
    ['a ttl that is no number', () => broker.raw(header, list({ ttl: '100' }))],
    ['no list', () => broker.raw(header, list({ status_list: undefined }))],
    ['an unknown width', () => broker.raw(header, list({ status_list: { bits: 3, lst: pack(0) } }))],
    ['a width as text', () => broker.raw(header, list({ status_list: { bits: '1', lst: pack(0) } }))],
    [
      'a list that is not packed',
      () => broker.raw(header, list({ status_list: { bits: 1, lst: encode('zeros') } })),
    ],
    [
      'a list that is no base64url',
      () => broker.raw(header, list({ status_list: { bits: 1, lst: `${pack(0)}==` } })),
    ],
    [
      'a list that is cut off',
      () => broker.raw(header, list({ status_list: { bits: 1, lst: pack(0).slice(0, 4) } })),
    ],
    [
      'a list that unpacks to 5 MiB',
      () =>
        broker.raw(
          header,
          list({ status_list: { bits: 1, lst: deflateSync(Buffer.alloc(5 << 20)).toString('base64url') } }),
        ),
    ],
  ]
  test.each(rows)('%s', async (_name, make) => {
    answer = make()
    expect(await setup().use(0)).toMatchObject(invalid)
  })
})

describe('a list that cannot be read', () => {
  test('is 503, and is asked for again only after a while', async () => {
    answer = undefined
    const { use } = setup()
    expect(await use(0)).toMatchObject(unavailable)
    answer = broker.raw(header, list())
    expect(await use(0, now + 4)).toMatchObject(unavailable)
    expect(hits).toBe(1)
    expect(await use(0, now + 5)).toMatchObject(valid)
  })

  test('may be larger than a list is', async () => {
    answer = ' '.repeat((1 << 20) + 1)
    expect(await setup().use(0)).toMatchObject(unavailable)
  })

  test('is not looked for behind a redirect', async () => {
    answer = broker.raw(header, list({ sub: `${origin()}/redirect` }))
    expect(await setup([origin()]).use(0, now, `${origin()}/redirect`)).toMatchObject(unavailable)
    expect(hits).toBe(1)
  })

  test('is not replaced by the old one once that is over', async () => {
    answer = broker.raw(header, list({ ttl: 10 }))
    const { use } = setup()
    expect(await use(0)).toMatchObject(valid)
    answer = undefined
    expect(await use(0, now + 10)).toMatchObject(unavailable)
  })
})

test('a list without ttl and exp is read again after five minutes', async () => {
  answer = broker.raw(header, list({ ttl: undefined, exp: undefined }))
  const lists = createStatusLists({ keys })
  const profile = broker.profile({ statusLists: [origin()] })
  const check = (at: number) => lists.check(profile, { uri, idx: 0 }, at)
  await check(now)
  expect([check(now + 299), hits]).toEqual([undefined, 1])
  await check(now + 300)
  expect(hits).toBe(2)
})

test('a list whose keys cannot be read now is unavailable, not invalid', async () => {
  answer = broker.raw(header, list())
  const lists = createStatusLists({ keys: { ...keys, find: () => undefined, known: () => false } })
  const profile = broker.profile({ statusLists: [origin()] })
  expect(await lists.check(profile, { uri, idx: 0 }, now)).toMatchObject(unavailable)
})

test('however many lists there are, 64 are kept, the newest', async () => {
  const lists = createStatusLists({ keys })
  const profile = broker.profile({ statusLists: [origin()] })
  const check = (n: number) => {
    const from = `${origin()}/lists/${n}`
    answer = broker.raw(header, list({ sub: from }))
    return lists.check(profile, { uri: from, idx: 0 }, now)
  }
  for (let n = 0; n <= 64; n++) await check(n)
  expect([check(64), check(1)]).toEqual([undefined, undefined])
  const again = check(0)
  expect(again).toBeInstanceOf(Promise)
  expect(await again).toBeUndefined()
})

describe('nothing is fetched that the issuer is not configured for', () => {
  const rows: [name: string, make: () => string][] = [
    ['another host', () => 'http://evil.example/lists/1'],
    ['another path', () => `${origin()}/other/1`],
    ['a longer last segment', () => `${origin()}/lists2/1`],
    ['a step up', () => `${origin()}/lists/../other/1`],
    ['an encoded step up', () => `${origin()}/lists/%2e%2e/other`],
    ['a longer host', () => `${origin()}.evil.example/lists/1`],
    ['the origin as user', () => `${origin()}@evil.example/lists/1`],
    ['a password', () => uri.replace('http://', 'http://a:b@')],
    ['a fragment', () => `${uri}#x`],
    ['an upper-case scheme', () => uri.replace('http', 'HTTP')],
    ['a backslash', () => `${origin()}\\lists/1`],
    ['a file', () => 'file:///etc/passwd'],
    ['no URL', () => 'lists/1'],
  ]
  test.each(rows)('%s', async (_name, make) => {
    answer = broker.raw(header, list())
    const refusal = refusedAs('lease_invalid', 'status_list_not_allowed')
    expect(await setup().use(0, now, make())).toMatchObject(refusal)
    expect(hits).toBe(0)
  })

  test('not before the token itself has been proven', async () => {
    answer = broker.raw(header, list())
    const lists = createStatusLists({ keys })
    const profile = broker.profile({ statusLists: [origin()] })
    const { verify } = createVerifier({ issuers: [profile], keys, statusLists: lists })
    const claims = broker.claims({ status: { status_list: { idx: 0, uri } } })
    const forged = broker.raw(headerOf(broker.key), claims, testKey(broker.key.kid))
    expect(await verify(forged, now, [broker.audience])).toMatchObject({ code: 'lease_invalid' })
    expect(hits).toBe(0)
  })
})
