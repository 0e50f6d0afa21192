// Limits of a lease and rates, through two gates on one store: exact, however parallel the calls are. What comes
// back of them is in give_back.test.ts, bytes are in budgets_bytes.test.ts.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'
import { sharedRedis } from '../support/redis.ts'
import type { Json } from '../support/tokens.ts'

type State = { readonly state: Json; end(): unknown }

async function embedded(): Promise<State> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-budgets-'))
  return { state: { path: join(dir, 'state.db') }, end: () => rmSync(dir, { recursive: true }) }
}

async function redis(): Promise<State> {
  const server = await sharedRedis()
  const state = { store: 'redis', redis: { url: server.url, prefix: server.prefix() } }
  return { state, end: () => server.stop() }
}

const item = { resource: 'customer/{id}', sensitivity: 'internal' }
const crm = {
  operations: [
    { match: 'GET /customers/{id}', verb: 'read', ...item },
    { match: 'GET /rated/{id}', verb: 'read', rate: '5/1h', ...item },
    {
      match: 'PUT /customers/{id}',
      verb: 'update',
      risk: 'low',
      body: 'json',
      amount: 'body.total',
      ...item,
    },
    { match: 'POST /customers/{id}', verb: 'update', risk: 'low', amount: 'query.amount', ...item },
    { match: 'PATCH /customers/{id}', verb: 'update', risk: 'low', ...item },
  ],
}

const limitedTo = (constraints: Json, backend = 'crm') => ({
  authorization_details: grantsFor(backend, ['customer/*']).map((grant) => ({ ...grant, constraints })),
})

const codeOf = ({ status, body }: RawAnswer): string =>
  status === 200 ? '200' : String((JSON.parse(body.toString()) as Json).code)

const put = (token: string, total: unknown) =>
  message({
    method: 'PUT',
    token,
    fields: ['Content-Type: application/json'],
    body: JSON.stringify({ total }),
  })

describe.each([
  ['SQLite', embedded],
  ['Redis', redis],
])('two gates on %s', (_, open) => {
  let store: State
  let gates: readonly [TestGate, TestGate]
  beforeAll(async () => {
    store = await open()
    const shared = { state: store.state, rates: { user: '1000000/1s', lease: '100000/1s' } }
    const first = await startTestGate({ crm, config: shared })
    const issuers = [{ issuer: first.issuer.issuer, jwks: { file: join(first.dir, 'jwks.json') } }]
    gates = [first, await startTestGate({ crm, config: { ...shared, issuers } })]
  })
  afterAll(async () => {
    for (const gate of gates) await gate.close()
    await store.end()
  })

  const reached = () => gates[0].backend.requests.length + gates[1].backend.requests.length

  test.each<[string, Json, (token: string) => string, string]>([
    ['max_calls', { max_calls: 20 }, (token) => message({ token }), 'budget_exhausted'],
    ['max_amount', { max_amount: '5.00' }, (token) => put(token, '0.25'), 'budget_exhausted'],
    ['max_rate', { max_rate: '1/24h burst 20' }, (token) => message({ token }), 'rate_limited'],
  ])(
    'of 40 parallel calls under %s exactly 20 reach the backend',
    async (_name, constraints, bytes, code) => {
      const token = gates[0].token(limitedTo(constraints))
      const seen = reached()
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_each, at) => gates[at % 2 === 0 ? 0 : 1].ask(bytes(token))),
      )
      const codes = answers.map(codeOf)
      const passed = codes.filter((each) => each === '200').length
      // A store that is slow for once costs a call and grants none: under load its reply can come too late.
      const lost = codes.filter((each) => each === 'evidence_unavailable').length
      expect(passed).toBeLessThanOrEqual(20)
      expect(passed).toBeGreaterThanOrEqual(20 - lost)
      expect(codes.filter((each) => each === code)).toHaveLength(40 - passed - lost)
      expect(reached()).toBe(seen + passed)
      for (const { status, headers } of answers.filter(({ status }) => status === 429)) {
        expect(Number(headers['retry-after'])).toBeGreaterThan(0)
        expect(headers.ratelimit).toContain(';r=0;t=')
        expect([status, headers['ratelimit-policy']]).toEqual([429, expect.stringContaining(';q=')])
      }
    },
  )

  test('the rate of an operation holds for all callers together', async () => {
    const codes: string[] = []
    for (let at = 0; at < 7; at++) {
      const gate = gates[at % 2 === 0 ? 0 : 1]
      codes.push(codeOf(await gate.ask(message({ target: '/crm/rated/1', token: gates[0].token() }))))
    }
    expect(codes).toEqual([...Array<string>(5).fill('200'), 'rate_limited', 'rate_limited'])
  })

  test('bodies of calls count against max_bytes, and what did not flow comes back', async () => {
    const [first, second] = gates
    const token = first.token(limitedTo({ max_bytes: 70_000 }))
    const bytes = put(token, '1')
    for (let at = 0; at < 6; at++) {
      const answered = async () => codeOf(await (at % 2 === 0 ? first : second).ask(bytes)) === '200'
      await eventually(answered, 'a call whose first bytes are reserved beside those of the one before')
    }
  })
})

describe('one gate', () => {
  let gate: TestGate
  beforeAll(async () => {
    gate = await startTestGate({
      crm,
      answer: (_, res) => res.writeHead(200, { ratelimit: '"theirs";r=1' }).end('{}'),
    })
  })
  afterAll(() => gate.close())

  const ask = async (token: string, target = '/crm/customers/1') =>
    codeOf(await gate.ask(message({ target, token })))

  describe('an answer under a limit', () => {
    test('says what is left, in place of what the backend says', async () => {
      const { headers } = await gate.ask(message({ token: gate.token(limitedTo({ max_calls: 3 })) }))
      expect(headers['ratelimit-policy']).toBe('"calls";q=3')
      expect(headers.ratelimit).toMatch(/^"calls";r=2;t=[0-9]+$/)
    })

    test('and one without keeps what the backend says', async () => {
      const { headers } = await gate.ask(message({ token: gate.token() }))
      expect([headers.ratelimit, headers['ratelimit-policy']]).toEqual(['"theirs";r=1', undefined])
    })
  })

  describe('an amount', () => {
    const token = () => gate.token(limitedTo({ max_amount: '10', max_calls: 1 }))

    test.each<[string, unknown]>([
      ['missing', undefined],
      ['negative', -1],
      ['negative in text', '-1'],
      ['with an exponent', '1e1'],
      ['with too many digits', 0.12345678],
      ['no number', { value: 1 }],
    ])('that is %s is refused before anything is spent', async (_, total) => {
      const held = token()
      const seen = gate.backend.requests.length
      expect(codeOf(await gate.ask(put(held, total)))).toBe('malformed_request')
      expect(gate.backend.requests).toHaveLength(seen)
      expect(codeOf(await gate.ask(put(held, 1)))).toBe('200')
    })

    test("is nobody's business where the lease does not limit it", async () => {
      expect(codeOf(await gate.ask(put(gate.token(), 'a lot')))).toBe('200')
    })

    test('of the query is counted as well', async () => {
      const held = gate.token(limitedTo({ max_amount: '10' }))
      const post = (query: string) =>
        message({
          method: 'POST',
          target: `/crm/customers/1?${query}`,
          token: held,
          fields: ['Content-Length: 0'],
        })
      expect(codeOf(await gate.ask(post('amount=6')))).toBe('200')
      expect(codeOf(await gate.ask(post('amount=6')))).toBe('budget_exhausted')
      expect(codeOf(await gate.ask(post('amount=4&Amount=0')))).toBe('malformed_request')
      expect(codeOf(await gate.ask(post('amount=4')))).toBe('200')
    })

    test('that an operation does not state is not covered, unless it only reads', async () => {
      const held = gate.token(limitedTo({ max_amount: '10' }))
      const patch = message({ method: 'PATCH', token: held, fields: ['Content-Length: 0'] })
      expect(codeOf(await gate.ask(patch))).toBe('outside_lease')
      expect(await ask(held)).toBe('200')
    })
  })

  test('policy sees what was left before the call, and what it moves', async () => {
    const held = gate.token(limitedTo({ max_amount: '10', max_calls: 5, max_rate: '7/1h' }))
    const from = gate.records().length
    await gate.ask(put(held, '2.5'))
    await gate.recordsAfter(from)
    await gate.ask(put(held, 2.5))
    await gate.recordsAfter(from + 1)
    const inputs = gate
      .records()
      .slice(from)
      .map(({ policy }) => (policy as { input: Json }).input)
    const left = (calls_left: number, amount_left: string, lease_rate_left: number) => ({
      context: { budget: { calls_left, bytes_left: null, amount_left, lease_rate_left } },
      request: { amount: '2.5' },
    })
    expect(inputs).toMatchObject([left(5, '10', 7), left(4, '7.5', 6)])
  })
})
