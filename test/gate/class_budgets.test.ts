// An agent that wants more than its budget: by leaving at the right moment, by two grants of one lease, by tokens,
// children and namesakes of it, by requests that gate and backend could read differently. Through a whole gate.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'
import type { Json } from '../support/tokens.ts'

const item = { resource: 'customer/{id}', sensitivity: 'internal' }
const write = { verb: 'update', risk: 'low', ...item }
const operations = [
  { match: 'GET /customers/{id}', verb: 'read', ...item },
  { match: 'GET /notes/{id}', verb: 'read', resource: 'note/{id}', sensitivity: 'internal' },
  { match: 'POST /customers/{id}', ...write, body: 'json', amount: 'body.total' },
  { match: 'PUT /customers/{id}', ...write, amount: 'query.total' },
  { match: 'POST /transfers/{id}', ...write, body: 'json', amount: 'query.total' },
  { match: 'PATCH /customers/{id}', ...write, body: 'opaque' },
]

/** What the backend answers with; a request says how many bytes it wants. */
const answerBytes = ({ url = '' }: { readonly url?: string }) => Number(/[?&]bytes=(\d+)/.exec(url)?.[1] ?? 2)

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({
    crm: { operations },
    answer: (request, res) => {
      const body = 'x'.repeat(answerBytes(request))
      const coding = request.url.includes('chunked') ? {} : { 'content-length': body.length }
      res.writeHead(request.method === 'GET' ? 200 : 201, { 'x-seen': 'yes', ...coding })
      if (request.method === 'HEAD') res.end()
      else res.end(body)
    },
  })
})
afterAll(() => gate.close())

const grant = (constraints: Json, identifier = 'customer/*') => ({
  ...grantsFor('crm', [identifier])[0],
  constraints,
})
const limitedTo = (constraints: Json, lease: Json = {}) =>
  gate.token({ authorization_details: [grant(constraints)] }, lease)
const codeOf = ({ status, body }: RawAnswer): string =>
  status < 300 ? String(status) : String((JSON.parse(body.toString()) as Json).code)
const ask = async (token: string, rest: Parameters<typeof message>[0] = {}) => {
  const answer = await gate.ask(message({ target: '/crm/customers/1', token, ...rest }))
  return codeOf(answer)
}
const reached = () => gate.backend.requests.length

describe('a rate', () => {
  test('is not refilled by calls under a narrower one of the same lease', async () => {
    const grants = [grant({ max_rate: '1/24h burst 5' }), grant({ max_rate: '1/24h burst 1' }, 'note/*')]
    const token = gate.token({ authorization_details: grants })
    for (let at = 0; at < 5; at++) expect(await ask(token)).toBe('200')
    expect(await ask(token, { target: '/crm/notes/1' })).toBe('rate_limited')
    expect(await ask(token)).toBe('rate_limited')
  })
})

describe('the answer to a call under a byte budget', () => {
  const patch = { method: 'PATCH', fields: ['Content-Length: 0'] }

  test('whose write has happened says so, and is cut where the bytes end', async () => {
    const token = limitedTo({ max_bytes: 1000 })
    using connection = await gate.connect()
    connection.write(message({ ...patch, target: '/crm/customers/1?bytes=5000', token }))
    const bytes = await connection.closed()
    expect(bytes).toMatch(/^HTTP\/1\.1 201 /)
    expect(bytes).toContain('x-seen: yes')
    expect(bytes.length).toBeLessThan(2000)
  })

  test('that only reads is refused whole, with what is left and when to come back', async () => {
    const token = limitedTo({ max_bytes: 1000 })
    for (const how of ['', '&chunked']) {
      const answer = await gate.ask(message({ target: `/crm/customers/1?bytes=5000${how}`, token }))
      expect(JSON.parse(answer.body.toString())).toMatchObject({
        code: 'budget_exhausted',
        reasons: ['bytes_exhausted'],
      })
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
      expect(answer.headers.ratelimit).toMatch(/^"bytes";r=\d+;t=\d+$/)
    }
  })

  test('to HEAD takes none, however long the answer would be', async () => {
    const token = limitedTo({ max_bytes: 1000 })
    const answer = await gate.ask(message({ method: 'HEAD', target: '/crm/customers/1?bytes=5000', token }))
    expect([answer.status, answer.headers['content-length']]).toEqual([201, '5000'])
  })
})

describe('an amount', () => {
  const json = (body: string, rest: object = {}) => ({
    fields: ['Content-Type: application/json'],
    method: 'POST',
    body,
    ...rest,
  })

  test.each<[string, Parameters<typeof message>[0]]>([
    ['named twice', json('{"total":1,"total":100}')],
    ['named twice by an escape', json('{"total":1,"tot\\u0061l":100}')],
    ['in another spelling beside it', json('{"total":1,"Total":100}')],
    ['behind a byte order mark', json('\xef\xbb\xbf{"total":1}')],
    ['before more of a body', json('{"total":1}{"total":100}')],
    [
      'in a coded body',
      json('{"total":1}', { fields: ['Content-Type: application/json', 'Content-Encoding: gzip'] }),
    ],
    ['in a form', json('total=1', { fields: ['Content-Type: application/x-www-form-urlencoded'] })],
    ['below __proto__', json('{"__proto__":{"total":1}}')],
    ['in digits of another script', json('{"total":"\\u0661"}')],
    ['with a plus', json('{"total":"+1"}')],
    ['beyond what a double holds', json('{"total":9007199254740993}')],
    ['in the query as well', json('{"total":1}', { target: '/crm/customers/1?total=100' })],
    ['in the body beside the query', json('{"Total":100}', { target: '/crm/transfers/1?total=1' })],
    [
      'in the query beside a body that nobody reads',
      { method: 'PUT', target: '/crm/customers/1?total=1', body: 'total=9' },
    ],
    [
      'in a chunked body beside the query',
      {
        method: 'PUT',
        target: '/crm/customers/1?total=1',
        fields: ['Transfer-Encoding: chunked', '', '7\r\ntotal=9\r\n0'],
      },
    ],
    [
      'twice in the query',
      { method: 'PUT', target: '/crm/customers/1?total=1&total=9', fields: ['Content-Length: 0'] },
    ],
    [
      'in a list of the query',
      { method: 'PUT', target: '/crm/customers/1?total=1&total[]=9', fields: ['Content-Length: 0'] },
    ],
    [
      'encoded in the query',
      { method: 'PUT', target: '/crm/customers/1?total=1&tot%61l=9', fields: ['Content-Length: 0'] },
    ],
    [
      'behind a semicolon',
      { method: 'PUT', target: '/crm/customers/1?total=1;total=9', fields: ['Content-Length: 0'] },
    ],
    [
      'with a space in the query',
      { method: 'PUT', target: '/crm/customers/1?total=+1', fields: ['Content-Length: 0'] },
    ],
    ['nowhere', { method: 'PUT', fields: ['Content-Length: 0'] }],
  ])('%s reaches no backend and costs nothing', async (_, rest) => {
    const token = limitedTo({ max_amount: '10' })
    const seen = reached()
    expect(await ask(token, rest)).toBe('malformed_request')
    expect(reached()).toBe(seen)
    expect(await ask(token, json('{"total":"10"}'))).toBe('201')
  })

  test('is counted exactly: ten tenths are one', async () => {
    const token = limitedTo({ max_amount: '1' })
    for (let at = 0; at < 10; at++) expect(await ask(token, json('{"total":0.1}'))).toBe('201')
    expect(await ask(token, json('{"total":"0.000001"}'))).toBe('budget_exhausted')
  })
})

describe('max_calls', () => {
  const three = { max_calls: 3 }

  test('counts HEAD and what a WebSocket is offered to as any call', async () => {
    const token = limitedTo(three)
    for (let at = 0; at < 3; at++) expect(await ask(token, { method: 'HEAD' })).toBe('201')
    expect(await ask(token, { fields: ['Connection: Upgrade', 'Upgrade: websocket'] })).toBe(
      'budget_exhausted',
    )
  })

  test('holds for calls that are sent at once on one connection', async () => {
    const token = limitedTo(three)
    const seen = reached()
    using connection = await gate.connect()
    const call = message({ target: '/crm/customers/1', token })
    const last = message({ target: '/crm/customers/1', token, fields: ['Connection: close'] })
    connection.write(call.repeat(9) + last)
    const answers = await connection.closed()
    expect(answers.match(/HTTP\/1\.1 200 /g)).toHaveLength(3)
    expect(answers.match(/HTTP\/1\.1 429 /g)).toHaveLength(7)
    expect(reached()).toBe(seen + 3)
  })

  test('is not refilled by leaving at whatever moment', async () => {
    const token = limitedTo(three)
    const seen = reached()
    for (let at = 0; at < 30; at++) {
      using connection = await gate.connect()
      connection.write(message({ target: `/crm/customers/${at}`, token }))
      await sleep(at % 10)
    }
    await eventually(async () => (await ask(token)) === 'budget_exhausted', 'the end of the budget')
    expect(reached()).toBeLessThanOrEqual(seen + 3)
  })

  test('is one for all tokens of a lease and all that was handed on from it, whatever each says', async () => {
    const id = 'lse_budget_of_many'
    const tokens = [
      limitedTo(three, { id }),
      limitedTo({ max_calls: 1000 }, { id }),
      limitedTo(three, { id: 'lse_budget_child', ancestors: [id] }),
      limitedTo(three, { id: 'lse_budget_grandchild', ancestors: ['lse_budget_child', id] }),
    ]
    const seen = reached()
    await Promise.all(tokens.flatMap((token) => [ask(token), ask(token), ask(token)]))
    for (const token of [tokens[0]!, tokens[2]!, tokens[3]!])
      expect(await ask(token)).toBe('budget_exhausted')
    expect(reached() - seen).toBeLessThanOrEqual(12)
  })

  test.each<[string, Json]>([
    ['text', { max_calls: '3' }],
    ['a fraction', { max_calls: 0.5 }],
    ['negative', { max_calls: -1 }],
    ['beyond a double', { max_calls: 1e300 }],
    ['null', { max_calls: null }],
    ['a list', { max_calls: [3] }],
    ['bytes in text', { max_bytes: '1e3' }],
    ['an amount as a number', { max_amount: 10 }],
    ['an amount in digits of another script', { max_amount: '١' }],
    ['a rate without end', { max_rate: '1/0s' }],
    ['a rate in another unit', { max_rate: '1/1d' }],
    ['what nobody knows', { max_fun: 1 }],
    ['a name that every object has', { toString: 1 }],
  ])('that is %s grants nothing', async (_, constraints) => {
    expect(['outside_lease', 'lease_invalid']).toContain(await ask(limitedTo(constraints)))
  })

  test('of none is none', async () => {
    expect(await ask(limitedTo({ max_calls: 0 }))).toBe('budget_exhausted')
  })

  test('says nothing to who has not authenticated', async () => {
    const answer = await gate.ask(message({ target: '/crm/customers/1', token: `${limitedTo(three)}x` }))
    expect([answer.status, answer.headers.ratelimit, answer.headers['ratelimit-policy']]).toEqual([
      401,
      undefined,
      undefined,
    ])
  })
})
