// What holds for every "no" of the broker, asked of it as a whole: status, OAuth code, nothing cached, nothing at
// a backend, and one audit record that says why without a secret. In: a request. Out: answer and record, checked.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { BrokerAnswer, TestBroker } from './broker.ts'
import { eventually } from './gate.ts'
import { noSecretIn } from './secrets.ts'
import type { Json } from './tokens.ts'

/** One request to an endpoint of the broker. */
export interface BrokerRequest {
  /** Default: `/token`. */
  readonly path?: string
  readonly method?: string
  /** Default: the usual exchange. */
  readonly body?: URLSearchParams | string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export interface ExpectedRefusal {
  readonly status?: number
  readonly error: string
  /** In the audit record, where it is not `error`. */
  readonly code?: string
}

type BrokerRecord = Json & { readonly decision: Json }

/** Audit records of requests to the broker. */
export function brokerRecords(broker: TestBroker): BrokerRecord[] {
  return broker.audit().filter((line): line is BrokerRecord => typeof line.endpoint === 'string')
}

/** Sends it and checks all that holds for a refusal. */
export async function expectRefused(
  broker: TestBroker,
  request: BrokerRequest,
  { status = 400, error, code = error }: ExpectedRefusal,
): Promise<{ readonly answer: BrokerAnswer; readonly record: BrokerRecord }> {
  const { path = '/token', body = broker.exchangeForm() } = request
  const { answer, added } = await told(broker, { path, ...request, body })
  expect({ status: answer.status, error: answer.body.error ?? answer.body.err }).toEqual({
    status,
    error,
  })
  const record = added[0]!
  expect(record).toMatchObject({
    endpoint: path.slice(1).replace('/', '_'),
    lease_id: null,
    decision: { effect: 'deny', code, cause: expect.stringMatching(/\S/) },
  })
  return { answer, record }
}

/** Sends what is granted. */
export async function expectGiven(broker: TestBroker, request: BrokerRequest = {}): Promise<Json> {
  const { body = broker.exchangeForm() } = request
  const { answer } = await told(broker, { ...request, body })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}

/** Sends it; the answer and the one record of it. Nothing of it is cached, reaches a backend, or is kept. */
export async function told(broker: TestBroker, { path = '/token', method, body, headers }: BrokerRequest) {
  const before = brokerRecords(broker).length
  const calls = broker.backend.requests.length
  const answer = await send(broker, { path, method: method ?? 'POST', body, headers: headers ?? {} })
  expect(answer.headers.get('cache-control')).toBe('no-store')
  await eventually(() => brokerRecords(broker).length > before, 'the audit record')
  const added = brokerRecords(broker).slice(before)
  expect(added).toHaveLength(1)
  expect(broker.backend.requests).toHaveLength(calls)
  noSecretIn({ record: JSON.stringify(added), log: broker.logText() }, secretsOf(body, headers))
  return { answer, added }
}

async function send(
  { brokerUrl }: TestBroker,
  { path, method, body, headers }: { path: string; method: string; body: unknown; headers: object },
): Promise<BrokerAnswer> {
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  const content = method === 'GET' || method === 'HEAD' ? {} : { body: String(body ?? '') }
  const response = await fetch(`${brokerUrl}${path}`, {
    method,
    headers: { ...type, ...headers },
    ...content,
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
}

/** Parameters and fields that hold something nobody else should have. */
const secretNames =
  /^(?:subject_token|actor_token|client_assertion|client_secret|assertion|deferral_code|token|logout_token|dpop|authorization)$/

function secretsOf(body: unknown, headers: object = {}) {
  const form = [...new URLSearchParams(String(body ?? ''))]
  const all = [...form, ...Object.entries(headers as Json)]
  // A JWT part by part; what is short is no secret, or one of a test that is about something else.
  const parts = all.flatMap(([name, value]) =>
    secretNames.test(name)
      ? String(value)
          .split(/[ .]/)
          .map((part) => [name, part] as const)
      : [],
  )
  const secret = parts.filter(([, part]) => part.length >= 24 && !part.startsWith('eyJ0eXAi'))
  return Object.fromEntries(secret.map(([name, part], nth) => [`${name} ${nth}`, part]))
}

/** Changes a file of the policy data and waits for it to be live. */
export async function changeData(broker: TestBroker, name: string, change: (data: Json) => Json) {
  const path = join(broker.config.policy.dir, 'data', name)
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as Json)))
  await broker.running.reload()
}
