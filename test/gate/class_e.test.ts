// Bad-input class E over raw sockets, two gates on one store: a token that is bound to a key is good for whoever
// proves to hold that key, for one request at a time, and for nobody else. E11 is in class_e_tls.test.ts.
import { createHmac } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { startWebSocketBackend, type WebSocketBackend } from '../support/backends.ts'
import {
  authority,
  eventually,
  grantsFor,
  message,
  publicOrigin,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'
import { type ProofAsk, prover } from '../support/proofs.ts'
import type { RawAnswer } from '../support/raw.ts'
import { encode, type Json } from '../support/tokens.ts'
import { expectRefused, nothingFollows, type RefusedRow, refusedRows } from './matrix.ts'
import { challenged } from './two_issuers.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-proofs-'))
const path = join(dir, 'state.db')
const agent = prover()
const other = prover()
const target = '/crm/customers/9821'
/** A name of the backend alone. */
const ownHost = 'crm.gate.example'
const url = `${publicOrigin}${target}`
let gate: TestGate
let second: TestGate
let sockets: WebSocketBackend
/** A nonce that is good for a minute at least. */
let nonce: string

beforeAll(async () => {
  sockets = await startWebSocketBackend()
  const config = { state: { path } }
  gate = await startTestGate({
    config,
    crm: { require_binding: 'never', hosts: [ownHost] },
    backends: {
      sockets: {
        url: sockets.url,
        path_prefix: '/sockets',
        upgrade: true,
        operations: [
          { match: 'GET /things/{id}', verb: 'read', resource: 'thing/{id}', sensitivity: 'internal' },
        ],
      },
    },
  })
  // The same issuer, and require_binding as it is by default.
  const issuers = [{ issuer: gate.issuer.issuer, jwks: { file: join(gate.dir, 'jwks.json') } }]
  second = await startTestGate({ config: { ...config, issuers }, crm: { require_binding: undefined } })
  nonce = await nonceOf(gate)
})
afterAll(async () => {
  await gate.close()
  await second.close()
  await sockets.close()
  rmSync(dir, { recursive: true })
})

/** What a gate hands out to whoever asks without one. */
async function nonceOf(from: TestGate): Promise<string> {
  const { status, headers } = await from.ask(signed({ claims: { nonce: undefined } }))
  expect(status).toBe(401)
  return headers['dpop-nonce']!
}

interface Call extends Partial<ProofAsk> {
  readonly proof?: (token: string) => string
  /** Of the message, beside the credential. */
  readonly fields?: readonly string[]
  readonly target?: string
}

function boundToken(claims: Json = {}): string {
  return gate.token({ cnf: { jkt: agent.thumbprint }, ...claims })
}

/** A request with a bound token and a proof that is valid but for what is asked. */
function signed(call: Call = {}, token = boundToken()): string {
  const proof = call.proof?.(token) ?? agent.proof({ url, token, nonce, ...call })
  const fields = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, ...(call.fields ?? [])]
  return message({ method: call.method ?? 'GET', target: call.target ?? target, fields })
}

const passes = async (call: Call = {}) => {
  const { status, headers } = await gate.ask(signed(call))
  return { status, nonce: headers['dpop-nonce'] }
}

/** RFC 9449 §7.1: the DPoP challenge alone, with what was wrong. */
const dpopChallenge =
  (error: string) =>
  ({ headers }: RawAnswer, problem: Readonly<Record<string, unknown>>) => {
    expect(problem.error).toBe(error)
    expect(headers['www-authenticate']).toMatch(
      new RegExp(
        `^DPoP algs="ES256 EdDSA", error="${error}", error_description="[^"]+", resource_metadata="[^"]+"$`,
      ),
    )
  }
const invalid = { status: 401, code: 'proof_invalid', also: dpopChallenge('invalid_dpop_proof') } as const

/** Rows that differ in the proof alone. */
function proofs(row: string, cases: readonly (readonly [name: string, call: Call])[]): RefusedRow[] {
  return cases.map(([name, call]) => ({ row, name, send: () => signed(call), ...invalid }))
}

test('a bound token passes with a proof, and the backend sees neither', async () => {
  const before = gate.backend.requests.length
  expect(await passes()).toEqual({ status: 200, nonce: undefined })
  const { headers } = gate.backend.requests[before]!
  expect(headers.dpop).toBeUndefined()
  expect(headers.authorization).not.toContain('DPoP')
})

test.each(['EdDSA', 'Ed25519'])('a key of Ed25519 is as good, by the name %s', async (alg) => {
  const ed = prover('EdDSA')
  const token = gate.token({ cnf: { jkt: ed.thumbprint } })
  const proof = () => ed.proof({ url, token, nonce, header: { alg } })
  expect((await gate.ask(signed({ proof }, token))).status).toBe(200)
})

describe('E1 a bound token as a bearer token', () => {
  const refused = { row: 'E1', status: 401, code: 'lease_invalid', also: challenged } as const
  refusedRows(
    () => gate,
    [
      { name: 'alone', send: () => message({ token: boundToken() }), ...refused },
      {
        name: 'on a write',
        send: () => message({ method: 'PUT', token: boundToken(), body: '{}' }),
        ...refused,
      },
      {
        name: 'with its proof',
        send: () => {
          const token = boundToken()
          return message({ token, fields: [`DPoP: ${agent.proof({ url, token, nonce })}`] })
        },
        ...refused,
      },
      {
        name: 'bound to a certificate, over a connection without one',
        send: () => message({ token: gate.token({ cnf: { 'x5t#S256': agent.thumbprint } }) }),
        ...refused,
      },
    ],
  )
})

describe('a token that is not bound to a proof key, under the scheme DPoP', () => {
  const refused = { row: 'K1', status: 401, code: 'lease_invalid' } as const
  refusedRows(
    () => gate,
    [
      { name: 'a bearer token', send: () => signed({}, gate.token()), ...refused },
      {
        name: 'one bound to a certificate',
        send: () => signed({}, gate.token({ cnf: { 'x5t#S256': agent.thumbprint } })),
        ...refused,
      },
      { name: 'no token at all', send: () => message({ fields: ['Authorization: DPoP abc'] }), ...refused },
    ],
  )
})

describe('E2 anything but one DPoP field with one JWT', () => {
  const withFields = (fields: (token: string) => string[]) => () => {
    const token = boundToken()
    return message({ fields: [`Authorization: DPoP ${token}`, ...fields(token)] })
  }
  const fresh = (token: string) => agent.proof({ url, token, nonce })
  const cases: [string, (token: string) => string[]][] = [
    ['no field', () => []],
    ['an empty field', () => ['DPoP:']],
    ['an underscore', (token) => [`DPoP_: ${fresh(token)}`]],
    ['two fields', (token) => [`DPoP: ${fresh(token)}`, `DPoP: ${fresh(token)}`]],
    ['two fields, one empty', (token) => [`DPoP: ${fresh(token)}`, 'dpop:']],
    ['two fields, in other letter case', (token) => [`DPoP: ${fresh(token)}`, `DPOP: ${fresh(token)}`]],
    ['two JWTs in one field', (token) => [`DPoP: ${fresh(token)}, ${fresh(token)}`]],
    ['two JWTs side by side', (token) => [`DPoP: ${fresh(token)} ${fresh(token)}`]],
    ['the token itself', (token) => [`DPoP: ${token}`]],
    ['words', () => ['DPoP: yes please']],
    ['four segments', (token) => [`DPoP: ${fresh(token)}.AAAA`]],
    ['no signature', (token) => [`DPoP: ${fresh(token).replace(/\.[^.]*$/, '.')}`]],
    ['five segments, as if encrypted', (token) => [`DPoP: ${fresh(token)}.AAAA.AAAA`]],
    ['a padded segment', (token) => [`DPoP: ${fresh(token)}==`]],
  ]
  refusedRows(
    () => gate,
    cases.map(([name, fields]) => ({ row: 'E2', name, send: withFields(fields), ...invalid })),
  )
  refusedRows(
    () => gate,
    proofs('E2', [
      ['no jti', { claims: { jti: undefined } }],
      ['no htm', { claims: { htm: undefined } }],
      ['no htu', { claims: { htu: undefined } }],
      ['no iat', { claims: { iat: undefined } }],
      ['a jti that is a number', { claims: { jti: 7 } }],
      ['an htu that is a list', { claims: { htu: [url] } }],
      [
        'a claim twice',
        {
          proof: (token) => {
            const claims = JSON.stringify(agent.claims({ url, token, nonce }))
            return agent.raw(agent.header(), claims.replace('{', '{"htm":"PUT",'))
          },
        },
      ],
      ['claims that are no object', { proof: () => agent.raw(agent.header(), '[]') }],
    ]),
  )
})

describe('E3 an unacceptable key', () => {
  const rsa = prover('RS256')
  const p384 = prover('ES384')
  const secret: Json = { kty: 'oct', k: encode('secret') }
  const byMac = (token: string) => {
    const header = { typ: 'dpop+jwt', alg: 'HS256', jwk: secret }
    const input = `${encode(header)}.${encode(agent.claims({ url, token, nonce }))}`
    return `${input}.${createHmac('sha256', 'secret').update(input).digest('base64url')}`
  }
  const withKey = (jwk: Json) => ({ header: { jwk } })
  const privateJwk = { ...agent.key.privateKey.export({ format: 'jwk' }) }
  const bound = (by: typeof rsa): Pick<RefusedRow, 'send'> => ({
    send: () => {
      const token = gate.token({ cnf: { jkt: by.thumbprint } })
      return signed({ proof: () => by.proof({ url, token, nonce }) }, token)
    },
  })
  refusedRows(
    () => gate,
    [
      ...proofs('E3', [
        ['the key of somebody else', { proof: (token) => other.proof({ url, token, nonce }) }],
        ['the right jwk, signed by somebody else', { signer: other.key }],
        ['a jwk with d', withKey(privateJwk)],
        ...['p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'].map((name): [string, Call] => [
          `a jwk with ${name}`,
          withKey({ ...agent.jwk, [name]: 'AQAB' }),
        ]),
        ['no jwk', { header: { jwk: undefined } }],
        ['a jwk that is a list', { header: { jwk: [agent.jwk] } }],
        ['a symmetric jwk', { proof: byMac }],
        ['a symmetric jwk under ES256', withKey(secret)],
        ['an algorithm of none', { header: { alg: 'none' } }],
        ['no algorithm', { header: { alg: undefined } }],
        ['a MAC', { header: { alg: 'HS256' } }],
        ['the algorithm of another curve', { header: { alg: 'ES384' } }],
        ['the algorithm of another kind of key', { header: { alg: 'EdDSA' } }],
        ['an algorithm in other letter case', { header: { alg: 'es256' } }],
        ['a point off the curve', withKey({ ...agent.jwk, y: agent.jwk.x })],
        ['a coordinate that is not canonical', withKey({ ...agent.jwk, x: `${agent.jwk.x}=` })],
        ['a key for encryption', withKey({ ...agent.jwk, use: 'enc' })],
        ['a key for another algorithm', withKey({ ...agent.jwk, alg: 'ES384' })],
        ['a key for deriving', withKey({ ...agent.jwk, key_ops: ['deriveBits'] })],
        ['no typ', { header: { typ: undefined } }],
        ['the typ of another JWT', { header: { typ: 'JWT' } }],
        ['the typ of a token', { header: { typ: 'at+jwt' } }],
        ['a crit extension', { header: { crit: ['b64'], b64: false } }],
        ['the address of a key', { header: { jku: 'https://attacker.example/jwks' } }],
        ['a certificate chain', { header: { x5c: ['AAAA'] } }],
        ['a signature cut short', { proof: (token) => agent.proof({ url, token, nonce }).slice(0, -4) }],
      ]),
      { row: 'E3', name: 'an unlisted algorithm: RS256', ...bound(rsa), ...invalid },
      { row: 'E3', name: 'an unlisted algorithm: ES384', ...bound(p384), ...invalid },
    ],
  )
})

describe('E4 a proof for another request', () => {
  const from = (origin: string, ...fields: string[]): Call => ({ url: `${origin}${target}`, fields })
  refusedRows(
    () => gate,
    [
      ...proofs('E4', [
        ['another method', { claims: { htm: 'POST' } }],
        ['the method in lower case', { claims: { htm: 'get' } }],
        ['another customer', { url: `${publicOrigin}/crm/customers/9822` }],
        ['a longer id', { url: `${url}0` }],
        ['a slash at the end', { url: `${url}/` }],
        ['the path in another letter case', { url: `${publicOrigin}/CRM/customers/9821` }],
        ['the path of the backend', { url: `${publicOrigin}/customers/9821` }],
        ['the origin alone', { url: publicOrigin }],
        ['the path alone', { url: target }],
        ['no URL', { url: 'customers' }],
        ['nothing', { url: '' }],
        ['https', { url: `https://${authority}${target}` }],
        ['another port', { url: `${publicOrigin}:8080${target}` }],
        ['a user', { url: `http://agent@${authority}${target}` }],
        ['backslashes', { url: url.replaceAll('/', '\\') }],
        ['a tab inside', { url: url.replace('crm', 'c\trm') }],
        ['a space before it', { url: ` ${url}` }],
        ['an encoded slash', { url: `${publicOrigin}/crm%2Fcustomers/9821` }],
        ['another host', from('http://attacker.example')],
        ['a spoofed X-Forwarded-Host', from('http://evil.example', 'X-Forwarded-Host: evil.example')],
        ['a spoofed X-Forwarded-Proto', from(`https://${authority}`, 'X-Forwarded-Proto: https')],
        ['a spoofed Forwarded', from('https://evil.example', 'Forwarded: host=evil.example;proto=https')],
        ['a spoofed X-Original-URL', { url: `${publicOrigin}/x`, fields: ['X-Original-URL: /x'] }],
      ]),
    ],
  )

  test('HEAD, judged as the GET it mirrors, is not GET in a proof', async () => {
    const send = () => signed({ method: 'HEAD', claims: { htm: 'GET' } })
    await expectRefused(gate, { send, status: 401, code: 'proof_invalid' })
  })

  test('a proof names the host it is sent to, where a backend has one of its own', async () => {
    const at = (host: string) => ({ target: '/customers/9821', url: `http://${host}/customers/9821` })
    const send = (host: string) => signed(at(host)).replace(`Host: ${authority}`, `Host: ${ownHost}`)
    expect((await gate.ask(send(ownHost))).status).toBe(200)
    await expectRefused(gate, { send: () => send(authority), ...invalid })
  })

  test('a Host that is not configured is no request at all, whatever the proof says', async () => {
    const call = from('http://evil.example')
    const send = () => signed(call).replace(`Host: ${authority}`, 'Host: evil.example')
    await expectRefused(gate, { send, status: 421, code: 'unknown_authority' })
  })
})

describe('E5 an htu that is equal after normalisation', () => {
  test.each([
    ['the default port', `http://${authority}:80${target}`],
    ['an empty port', `http://${authority}:${target}`],
    ['scheme and host in upper case', `HTTP://${authority.toUpperCase()}${target}`],
    ['encoded letters', `${publicOrigin}/%63rm/c%75stomers/%39821`],
    ['dot segments', `${publicOrigin}/crm/./x/../customers/9821`],
    ['encoded dot segments', `${publicOrigin}/crm/x/%2E%2e/customers/9821`],
    ['a query', `${url}?fields=name`],
    ['a fragment', `${url}#top`],
  ])('%s: accepted', async (_, htu) => {
    expect((await passes({ url: htu })).status).toBe(200)
  })

  test('the query of the request is not part of it', async () => {
    expect((await passes({ target: `${target}?fields=name` })).status).toBe(200)
  })

  test('a proof of HEAD is for HEAD', async () => {
    expect((await passes({ method: 'HEAD' })).status).toBe(200)
  })
})

describe('E6 a replayed proof', () => {
  const codes = (answers: readonly RawAnswer[]) => answers.map(({ status }) => status).toSorted()
  const replayed = Array<number>(7).fill(401)

  test('in sequence: the first passes, and the second is recorded', async () => {
    const bytes = signed()
    expect((await gate.ask(bytes)).status).toBe(200)
    await expectRefused(gate, { send: () => bytes, ...invalid })
  })

  test('in parallel on one gate: exactly one passes', async () => {
    const bytes = signed()
    expect(codes(await Promise.all(Array.from({ length: 8 }, () => gate.ask(bytes))))).toEqual([
      200,
      ...replayed,
    ])
  })

  test('in parallel on two gates that share a store: exactly one passes', async () => {
    const bytes = signed()
    const gates = Array.from({ length: 8 }, (_, at) => (at % 2 === 0 ? gate : second))
    const statuses = codes(await Promise.all(gates.map((each) => each.ask(bytes))))
    expect(statuses).toEqual([200, ...replayed])
  })

  test('with another URL, method or token: the jti is used up under its key', async () => {
    const claims = { jti: 'chosen-once-by-the-agent' }
    expect((await passes({ claims })).status).toBe(200)
    const elsewhere = '/crm/customers/9822'
    const again = { target: elsewhere, url: `${publicOrigin}${elsewhere}`, claims }
    await expectRefused(gate, { send: () => signed(again), ...invalid })
  })

  test('under another key the same jti is another one', async () => {
    const claims = { jti: 'chosen-by-two-agents' }
    expect((await passes({ claims })).status).toBe(200)
    const token = gate.token({ cnf: { jkt: other.thumbprint } })
    const proof = () => other.proof({ url, token, nonce, claims })
    expect((await gate.ask(signed({ proof }, token))).status).toBe(200)
  })

  test('a proof that somebody else signed does not use up the jti', async () => {
    const claims = { jti: 'seen-on-the-way' }
    await expectRefused(gate, { send: () => signed({ claims, signer: other.key }), ...invalid })
    expect((await passes({ claims })).status).toBe(200)
  })
})

describe('E7 a proof of another time', () => {
  const at = (offset: number): Call => ({ claims: { iat: Math.floor(Date.now() / 1000) + offset } })
  refusedRows(
    () => gate,
    proofs('E7', [
      ['two minutes old', at(-120)],
      ['a minute too far ahead', at(120)],
      ['of 1970', { claims: { iat: 0 } }],
      ['in milliseconds', { claims: { iat: Date.now() } }],
      ['in text', { claims: { iat: String(Math.floor(Date.now() / 1000)) } }],
      ['without a number', { claims: { iat: null } }],
    ]),
  )

  test.each([-45, 0, 3])('%s seconds from now: accepted', async (offset) => {
    expect((await passes(at(offset))).status).toBe(200)
  })
})

describe('E8 a proof for another token', () => {
  refusedRows(
    () => gate,
    proofs('E8', [
      ['no ath', { claims: { ath: undefined } }],
      ['an empty ath', { claims: { ath: '' } }],
      ['the ath of another token of the same lease', { token: 'another' }],
      ['the token itself', { proof: (token) => agent.proof({ url, nonce, claims: { ath: token } }) }],
      ['an ath that is no text', { claims: { ath: ['x'] } }],
    ]),
  )
})

describe('E9 a nonce of this server is required', () => {
  const required = ({ headers }: RawAnswer, problem: Readonly<Record<string, unknown>>) => {
    dpopChallenge('use_dpop_nonce')({ headers } as RawAnswer, problem)
    expect(headers['dpop-nonce']).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(problem.next_action).toBe('retry')
  }
  const needed = { row: 'E9', status: 401, code: 'proof_nonce_required', also: required } as const
  refusedRows(
    () => gate,
    [
      { name: 'absent', send: () => signed({ claims: { nonce: undefined } }), ...needed },
      { name: 'empty', send: () => signed({ nonce: '' }), ...needed },
      { name: 'made up', send: () => signed({ nonce: 'x'.repeat(43) }), ...needed },
      { name: 'a good one and more', send: () => signed({ nonce: `${nonce}x` }), ...needed },
      { name: 'a good one cut short', send: () => signed({ nonce: nonce.slice(0, -1) }), ...needed },
    ],
  )

  test('the nonce of the answer is good for the next proof, here and at the other gate', async () => {
    const handed = await nonceOf(gate)
    expect((await passes({ nonce: handed })).status).toBe(200)
    expect((await second.ask(signed({ nonce: handed }, boundToken()))).status).toBe(200)
  })

  test('a proof that was refused for its nonce can be made again with the same jti', async () => {
    const claims = { jti: 'tried-twice' }
    const { headers, status } = await gate.ask(signed({ claims, nonce: 'none' }))
    expect(status).toBe(401)
    expect((await passes({ claims, nonce: headers['dpop-nonce']! })).status).toBe(200)
  })
})

describe('E10 the memory of used proofs', () => {
  refusedRows(
    () => gate,
    [
      ...proofs('E10a', [
        ['a jti of 257 characters', { claims: { jti: 'j'.repeat(257) } }],
        ['a jti of 3 KiB', { claims: { jti: 'j'.repeat(3_072) } }],
        ['a jti of 8 KiB', { claims: { jti: 'j'.repeat(8_192) } }],
        ['an empty jti', { claims: { jti: '' } }],
      ]),
      {
        row: 'E10a',
        name: 'a jti of 1 MiB: no header section is that large',
        send: () => signed({ claims: { jti: 'j'.repeat(1_048_576) } }),
        status: 431,
        code: 'headers_too_large',
      },
    ],
  )

  test('a jti of 256 characters passes', async () => {
    expect((await passes({ claims: { jti: 'j'.repeat(256) } })).status).toBe(200)
  })

  test('E10b what cannot be remembered is not let in, and is good later', async () => {
    const bytes = signed()
    // All files of the store: which of them remembers proofs is its own affair.
    const files = readdirSync(dir).filter((name) => !/-(?:wal|shm)$/.test(name))
    const blockers = files.map((name) => new DatabaseSync(join(dir, name)))
    for (const blocker of blockers) blocker.exec('BEGIN IMMEDIATE')
    try {
      const also = ({ headers }: RawAnswer) => expect(headers['retry-after']).toMatch(/^[1-9]/)
      await expectRefused(gate, { send: () => bytes, status: 503, code: 'evidence_unavailable', also })
    } finally {
      for (const blocker of blockers) blocker.close()
    }
    expect((await gate.ask(bytes)).status).toBe(200)
  })
})

describe('what needs a bound token', () => {
  const risky = { method: 'DELETE' }
  const challenge = ({ headers }: RawAnswer, problem: Readonly<Record<string, unknown>>) => {
    expect(problem).toMatchObject({ error: 'invalid_token', next_action: 'request' })
    expect(headers['www-authenticate']).toMatch(/^Bearer error="invalid_token", .*, DPoP algs="ES256 EdDSA"$/)
  }

  test('K1 by default an operation of high risk: a bearer token is told so', async () => {
    const send = () => message({ ...risky, token: gate.token() })
    await expectRefused(second, { send, status: 401, code: 'binding_required', also: challenge })
  })

  test('K1 the rest takes bearer tokens', async () => {
    expect((await second.ask(message({ token: gate.token() }))).status).toBe(200)
  })

  test('a bound one comes as far as the approval that high risk needs', async () => {
    const send = () => signed(risky, boundToken())
    await expectRefused(second, { send, status: 403, code: 'approval_required' })
  })
})

describe('a WebSocket', () => {
  const offer = (token: string, proof: string) =>
    new WebSocket(`ws://127.0.0.1:${gate.port}/sockets/things/1`, {
      headers: { host: authority, authorization: `DPoP ${token}`, dpop: proof },
    })
  const settled = (socket: WebSocket) =>
    new Promise<string>((resolve) => {
      socket.once('open', () => resolve('open'))
      socket.once('error', (error) => resolve(error.message))
    })

  test('opens with a proof, once', async () => {
    const before = gate.records().length
    const token = boundToken({ authorization_details: grantsFor('sockets', ['thing/*']) })
    const proof = agent.proof({ url: `${publicOrigin}/sockets/things/1`, token, nonce })
    const socket = offer(token, proof)
    expect(await settled(socket)).toBe('open')
    expect(await settled(offer(token, proof))).toBe('Unexpected server response: 401')
    socket.terminate()
    await eventually(() => gate.records().length === before + 2, 'the records of both')
  })
})

test('nothing of a proof is in the log or the audit file', async () => {
  const token = boundToken()
  const proof = agent.proof({ url, token, nonce, claims: { jti: 'never-written-down' } })
  const before = gate.records().length
  await gate.ask(signed({ proof: () => proof }, token))
  await gate.ask(signed({ proof: () => proof }, token))
  await eventually(() => gate.records().length === before + 2, 'the records of both')
  const written = `${gate.logText()}${gate.auditText()}`
  for (const part of [...proof.split('.'), 'never-written-down', nonce]) expect(written).not.toContain(part)
})

nothingFollows(
  () => gate,
  () => gate.ask(signed()),
)
