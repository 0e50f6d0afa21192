// Limits of leases across two workers of one machine and across two machines: of calls that are sent all at once
// exactly as many reach the backend as there is room for, and the rest is told so.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { openMachines, openWorkers, type Pair } from '../support/pairs.ts'
import type { RawAnswer } from '../support/raw.ts'
import type { Json } from '../support/tokens.ts'

const item = { resource: 'customer/{id}', sensitivity: 'confidential', risk: 'low' }
const operations = [
  { match: 'GET /customers/{id}', verb: 'read', ...item },
  { match: 'GET /rare/{id}', verb: 'read', rate: '1/24h burst 20', ...item },
  { match: 'PUT /customers/{id}', verb: 'update', body: 'json', amount: 'body.total', ...item },
]

interface Call {
  readonly method?: string
  readonly path?: string
  readonly body?: string
}

const put = (total: string, filler = ''): Call => ({ method: 'PUT', body: JSON.stringify({ total, filler }) })

describe.each([
  ['two workers on SQLite', openWorkers],
  ['two machines on Redis', openMachines],
])('%s', (_, open) => {
  let backend: RecordingBackend
  let pair: Pair
  beforeAll(async () => {
    backend = await startRecordingBackend()
    pair = await open({ backend, operations })
  }, 120_000)
  afterAll(async () => {
    await pair?.close()
    await backend?.close()
  })

  const reached = () => backend.requests.length

  const bytesOf = (token: string, { method = 'GET', path = '/customers/9821', body = '' }: Call) => {
    const lines = [`Host: ${pair.authority}`, `Authorization: Bearer ${token}`]
    if (body !== '') lines.push('Content-Type: application/json', `Content-Length: ${body.length}`)
    return `${method} /crm${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
  }

  /** One call on each of as many connections, half of them to each, all at once. */
  async function atOnce(count: number, bytes: string): Promise<RawAnswer[]> {
    const connections = await pair.connections(count / 2)
    try {
      for (const connection of connections) connection.write(bytes)
      return await Promise.all(connections.map((connection) => connection.answer()))
    } finally {
      for (const connection of connections) connection[Symbol.dispose]()
    }
  }

  const byStatus = (answers: readonly RawAnswer[], status: number) =>
    answers.filter((answer) => answer.status === status)

  interface Row {
    readonly of: number
    readonly pass: number
    readonly constraints: Json
    readonly call: Call
    readonly code: string
    readonly reason: string
  }
  const exhausted = 'budget_exhausted'
  const rows: readonly (readonly [string, Row])[] = [
    [
      'max_calls of 20',
      {
        of: 40,
        pass: 20,
        constraints: { max_calls: 20 },
        call: {},
        code: exhausted,
        reason: 'calls_exhausted',
      },
    ],
    [
      'an amount of 2.50 each and max_amount of 100.00',
      {
        of: 60,
        pass: 40,
        constraints: { max_amount: '100.00' },
        call: put('2.50'),
        code: exhausted,
        reason: 'amount_exhausted',
      },
    ],
    [
      'max_rate with a burst of 20',
      {
        of: 40,
        pass: 20,
        constraints: { max_rate: '1/24h burst 20' },
        call: {},
        code: 'rate_limited',
        reason: 'max_rate',
      },
    ],
    [
      'an operation whose rate has a burst of 20',
      {
        of: 40,
        pass: 20,
        constraints: {},
        call: { path: '/rare/9821' },
        code: 'rate_limited',
        reason: 'rate_operation',
      },
    ],
  ]
  test.each(rows)('calls at once under %s', async (_what, { of, pass, constraints, call, code, reason }) => {
    const token = pair.token(constraints)
    const before = reached()
    const answers = await atOnce(of, bytesOf(token, call))
    expect(byStatus(answers, 200)).toHaveLength(pass)
    expect(reached()).toBe(before + pass)
    const refused = byStatus(answers, 429)
    expect(refused).toHaveLength(of - pass)
    for (const { headers, body } of refused) {
      expect(JSON.parse(body.toString())).toMatchObject({ code, reasons: [reason] })
      expect(headers['retry-after']).toMatch(/^[1-9][0-9]*$/)
      expect(headers.ratelimit).toMatch(/;r=0;t=[1-9]/)
      expect(headers['ratelimit-policy']).toContain(';q=')
    }
  })

  test('calls at once under max_bytes: no more than it holds, and exactly as much in the end', async () => {
    const call = put('1', 'x'.repeat(1_000))
    const each = call.body!.length + '{"ok":true}'.length
    const token = pair.token({ max_bytes: 20 * each })
    const before = reached()
    const answers = await atOnce(40, bytesOf(token, call))
    for (const { body } of byStatus(answers, 429)) {
      expect(JSON.parse(body.toString())).toMatchObject({ code: exhausted, reasons: ['bytes_exhausted'] })
    }
    expect(byStatus(answers, 200).length + byStatus(answers, 429).length).toBe(40)
    // What calls had reserved and did not use has come back to those that come later.
    const further = async () => {
      await atOnce(2, bytesOf(token, call))
      return reached() - before >= 20
    }
    await eventually(further, 'all calls that the lease has bytes for')
    for (let more = 0; more < 3; more++) await further()
    expect(reached() - before).toBe(20)
  })
})
